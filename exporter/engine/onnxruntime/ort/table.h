// How ONNX Runtime's functions are called, for this package's C alone.
#ifndef PLANCAST_ORT_TABLE_H
#define PLANCAST_ORT_TABLE_H

typedef struct status status;

#define table plancast_ort_table
#define message plancast_ort_message

extern const void *const *table;

// message is a status's text, which the caller frees, or NULL; it frees the status.
char *message(status *s);

// The places of functions in the table, as their names in ONNX Runtime's header.
enum {
	GetErrorMessage = 2, CreateEnv = 3, DisableTelemetryEvents = 6, CreateSession = 7, CreateSessionFromArray = 8, Run = 9,
	CreateSessionOptions = 10, SetOptimizedModelFilePath = 11, SetSessionLogSeverityLevel = 22, SetSessionGraphOptimizationLevel = 23,
	SetIntraOpNumThreads = 24, SetInterOpNumThreads = 25, CreateRunOptions = 39, RunOptionsSetTerminate = 46,
	RunOptionsUnsetTerminate = 47, CreateTensorAsOrtValue = 48, CreateTensorWithDataAsOrtValue = 49, GetTensorMutableData = 51,
	FillStringTensor = 52, GetStringTensorDataLength = 53, GetStringTensorContent = 54, GetTensorElementType = 60,
	GetDimensionsCount = 61, GetDimensions = 62, GetTensorTypeAndShape = 65, GetValueType = 67, CreateCpuMemoryInfo = 69,
	AllocatorFree = 76, GetAllocatorWithDefaultOptions = 78, GetValue = 80, GetValueCount = 81, CreateValue = 82, ReleaseStatus = 93, ReleaseSession = 95,
	ReleaseValue = 96, ReleaseRunOptions = 97, ReleaseTensorTypeAndShapeInfo = 99, ReleaseSessionOptions = 100, RunWithBinding = 133,
	CreateIoBinding = 134, ReleaseIoBinding = 135, BindInput = 136, BindOutput = 137, BindOutputToDevice = 138, GetBoundOutputValues = 140,
	HasValue = 192,
};

#define CALL(name, ...) ((status * (*)(__VA_ARGS__)) table[name])
#define FREE(name, p) ((void (*)(void *))table[name])(p)

#endif

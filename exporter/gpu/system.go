package gpu

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// library is what the dynamic loader is asked for.
const library = "libnvidia-ml.so.1"

// system is NVML, initialized, with the GPUs it has.
type system struct {
	lib          nvml.Interface
	calls        *line // of what concerns no device
	events       *line // of the wait for events
	limit        time.Duration
	counting     chan struct{} // of capacity 1: held during each call to GPM
	driver, cuda string
	gpus         []*device
}

// device is a GPU or a MIG instance.
type device struct {
	Info
	handle nvml.Device
	line   *line   // an instance has its GPU's
	parent *device // of an instance
	meter  *meter  // nil without GPM
}

// open loads and initializes NVML. The error is *UnavailableError when there is
// no driver, or no GPU; a nil lib is the system's own.
func open(lib nvml.Interface, limit time.Duration) (*system, error) {
	if lib == nil {
		lib = nvml.New()
	}
	if limit == 0 {
		limit = callLimit
	}
	s := &system{lib: lib, calls: newLine(lib, limit), events: newLine(lib, eventWait+limit), limit: limit, counting: make(chan struct{}, 1)}
	_, err := bounded(s.calls, "nvmlInit", max(initLimit, limit), func() (struct{}, nvml.Return) { return struct{}{}, lib.Init() })
	if err != nil {
		return nil, unavailable(err)
	}
	if err := s.describe(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func unavailable(err error) error {
	var e *Error
	if errors.As(err, &e) {
		switch e.Return {
		case nvml.ERROR_LIBRARY_NOT_FOUND:
			return &UnavailableError{library + " was not found where the dynamic loader looks (LD_LIBRARY_PATH, the system's cache); the NVIDIA driver brings it, and containers need NVIDIA_DRIVER_CAPABILITIES=compute,utility"}
		case nvml.ERROR_DRIVER_NOT_LOADED:
			return &UnavailableError{library + " is installed, but the NVIDIA driver is not loaded"}
		case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
			return &UnavailableError{library + " and the loaded NVIDIA driver are of different versions: restart the machine, or reload the driver"}
		}
	}
	return &UnavailableError{err.Error()}
}

func (s *system) describe() error {
	var err error
	if s.driver, err = call(s.calls, "nvmlSystemGetDriverVersion", s.lib.SystemGetDriverVersion); err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	cuda, err := call(s.calls, "nvmlSystemGetCudaDriverVersion", s.lib.SystemGetCudaDriverVersion)
	switch {
	case err == nil:
		s.cuda = fmt.Sprintf("%d.%d", cuda/1000, cuda%1000/10)
	case !errors.Is(err, errAbsent):
		return err
	}
	n, err := call(s.calls, "nvmlDeviceGetCount_v2", s.lib.DeviceGetCount)
	if err != nil {
		return err
	}
	var broken error
	for i := range n {
		d, err := s.gpu(i)
		if err != nil { // one GPU that is out of order does not hide the others
			broken = errors.Join(broken, fmt.Errorf("GPU %d: %w", i, err))
			continue
		}
		s.gpus = append(s.gpus, d)
	}
	if len(s.gpus) == 0 {
		if broken != nil {
			return broken
		}
		return &UnavailableError{"driver " + s.driver + " found no GPU for this process"}
	}
	return nil
}

// gpu describes the GPU with that index.
func (s *system) gpu(index int) (*device, error) {
	d := &device{line: newLine(s.lib, s.limit)}
	var err error
	if d.handle, err = call(d.line, "nvmlDeviceGetHandleByIndex_v2", func() (nvml.Device, nvml.Return) { return s.lib.DeviceGetHandleByIndex(index) }); err != nil {
		return nil, err
	}
	d.Info = Info{GPU: strconv.Itoa(index), Driver: s.driver, CUDA: s.cuda}
	if d.UUID, err = call(d.line, "nvmlDeviceGetUUID", d.handle.GetUUID); err != nil {
		return nil, err
	}
	if d.Name, err = call(d.line, "nvmlDeviceGetName", d.handle.GetName); err != nil {
		return nil, err
	}
	pci, err := call(d.line, "nvmlDeviceGetPciInfo_v3", d.handle.GetPciInfo)
	if err == nil {
		d.PCIBusID, _ = busID(text(pci.BusId[:]))
	}
	d.meter = s.newMeter(d, d.handle, -1)
	return d, nil
}

// instances lists the MIG instances of a GPU and notes how it stands to MIG.
// known are those listed before: they are kept, so that their meters go on.
func (s *system) instances(d *device, known map[string]*device) (map[string]*device, error) {
	type mode struct{ current, pending int }
	m, err := call(d.line, "nvmlDeviceGetMigMode", func() (mode, nvml.Return) {
		current, pending, ret := d.handle.GetMigMode()
		return mode{current, pending}, ret
	})
	switch {
	case errors.Is(err, errAbsent):
		d.MIG = ""
		return nil, nil
	case err != nil:
		return known, err
	case m.current != nvml.DEVICE_MIG_ENABLE:
		d.MIG = MIGDisabled
		return nil, nil
	}
	d.MIG = MIGEnabled
	n, err := call(d.line, "nvmlDeviceGetMaxMigDeviceCount", d.handle.GetMaxMigDeviceCount)
	if err != nil {
		return known, err
	}
	found := map[string]*device{}
	for i := range n {
		x, err := s.instance(d, i)
		var e *Error
		switch {
		case errors.Is(err, errAbsent), errors.As(err, &e) && (e.Return == nvml.ERROR_NOT_FOUND || e.Return == nvml.ERROR_INVALID_ARGUMENT):
			continue // indexes have gaps
		case err != nil:
			return known, err
		}
		if old := known[x.UUID]; old != nil && old.GPU == x.GPU {
			x.meter.close()
			x = old
		}
		found[x.UUID] = x
	}
	return found, nil
}

func (s *system) instance(parent *device, index int) (*device, error) {
	x := &device{Info: parent.Info, line: parent.line, parent: parent}
	x.GPU, x.MIG = parent.GPU+":"+strconv.Itoa(index), MIGInstance
	var err error
	if x.handle, err = call(x.line, "nvmlDeviceGetMigDeviceHandleByIndex", func() (nvml.Device, nvml.Return) { return parent.handle.GetMigDeviceHandleByIndex(index) }); err != nil {
		return nil, err
	}
	if x.UUID, err = call(x.line, "nvmlDeviceGetUUID", x.handle.GetUUID); err != nil {
		return nil, err
	}
	if name, err := call(x.line, "nvmlDeviceGetName", x.handle.GetName); err == nil {
		x.Name = name
	}
	if id, err := call(x.line, "nvmlDeviceGetGpuInstanceId", x.handle.GetGpuInstanceId); err == nil {
		x.meter = s.newMeter(x, parent.handle, id)
	}
	return x, nil
}

// read makes the calls and returns the figures that there are, with the errors
// of the calls that failed. After a hang, or when the GPU is lost, it asks no more.
func (d *device) read(readings []reading) (Values, []error) {
	values := Values{}
	var errs []error
	for _, r := range readings {
		if r.older != nil && !d.line.has(r.symbol) {
			r = *r.older
		}
		v, err := call(d.line, r.symbol, func() (Values, nvml.Return) { return r.read(d.handle) })
		if err == nil {
			maps.Copy(values, v)
			continue
		}
		if errors.Is(err, errAbsent) {
			continue
		}
		errs = append(errs, err)
		if hopeless(err) {
			break
		}
	}
	return values, errs
}

// hopeless reports whether further calls on the device would fail as well.
func hopeless(err error) bool {
	var hung *HungError
	var e *Error
	return errors.As(err, &hung) || errors.As(err, &e) && (e.Return == nvml.ERROR_GPU_IS_LOST || e.Return == nvml.ERROR_UNINITIALIZED)
}

// close ends NVML, unless a call hangs in it.
func (s *system) close() {
	hung := s.events.hangs() != nil
	for _, d := range s.gpus {
		d.meter.close()
		hung = hung || d.line.hangs() != nil
	}
	if hung {
		return
	}
	_, _ = bounded(s.calls, "nvmlShutdown", s.limit, func() (struct{}, nvml.Return) { return struct{}{}, s.lib.Shutdown() })
}

package candidate

import (
	"bytes"
	"fmt"
	"sync"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Shapes is what plancast reads of Triton's config.pbtxt.
type Shapes struct {
	MaxBatch int                `json:"max_batch,omitempty"` // max_batch_size; 0 means that dims hold the batch dimension
	Inputs   map[string][]int64 `json:"inputs,omitempty"`    // the model's own, by input name; -1 is a dimension that varies
}

// modelConfig describes the few fields of Triton's ModelConfig message that
// plancast reads, with the field names and types of Triton's model_config.proto;
// everything else in a file is skipped.
var modelConfig = sync.OnceValues(func() (protoreflect.MessageDescriptor, error) {
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: &name, JsonName: &name, Number: &number, Type: &kind, Label: &label}
	}
	const (
		one  = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		many = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	)
	reshape := field("reshape", 5, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, one)
	reshape.TypeName = proto.String(".inference.ModelTensorReshape")
	inputs := field("input", 5, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, many)
	inputs.TypeName = proto.String(".inference.ModelInput")
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("model_config_subset.proto"), Package: proto.String("inference"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("ModelTensorReshape"), Field: []*descriptorpb.FieldDescriptorProto{
				field("shape", 1, descriptorpb.FieldDescriptorProto_TYPE_INT64, many),
			}},
			{Name: proto.String("ModelInput"), Field: []*descriptorpb.FieldDescriptorProto{
				field("name", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, one),
				field("dims", 4, descriptorpb.FieldDescriptorProto_TYPE_INT64, many),
				reshape,
			}},
			{Name: proto.String("ModelConfig"), Field: []*descriptorpb.FieldDescriptorProto{
				field("max_batch_size", 4, descriptorpb.FieldDescriptorProto_TYPE_INT32, one),
				inputs,
			}},
		},
	}, nil)
	if err != nil {
		return nil, err
	}
	return file.Messages().ByName("ModelConfig"), nil
})

// parseShapes reads a config.pbtxt.
func parseShapes(text []byte) (Shapes, error) {
	desc, err := modelConfig()
	if err != nil {
		return Shapes{}, err
	}
	msg := dynamicpb.NewMessage(desc)
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // Triton takes a byte order mark
	if err := (prototext.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, msg); err != nil {
		return Shapes{}, err
	}
	s := Shapes{MaxBatch: int(msg.Get(desc.Fields().ByName("max_batch_size")).Int()), Inputs: map[string][]int64{}}
	if s.MaxBatch < 0 {
		return Shapes{}, fmt.Errorf("max_batch_size is %d: it cannot be negative", s.MaxBatch)
	}
	list := msg.Get(desc.Fields().ByName("input")).List()
	for i := range list.Len() {
		in := list.Get(i).Message()
		fields := in.Descriptor().Fields()
		name := in.Get(fields.ByName("name")).String()
		dims := in.Get(fields.ByName("dims")).List()
		if f := fields.ByName("reshape"); in.Has(f) {
			// dims are what a client sends; the model takes this.
			m := in.Get(f).Message()
			dims = m.Get(m.Descriptor().Fields().ByName("shape")).List()
		}
		shape := make([]int64, dims.Len())
		for j := range shape {
			if shape[j] = dims.Get(j).Int(); shape[j] < -1 || shape[j] == 0 {
				return Shapes{}, fmt.Errorf("input %q: dimension %d is %d: use a positive number, or -1 for one that varies", name, j, shape[j])
			}
		}
		s.Inputs[name] = shape
	}
	return s, nil
}

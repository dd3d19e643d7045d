package onnx

import (
	"errors"
	"math"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// sparse reads a sparse tensor and returns its values.
func (d *decoder) sparse(f field) (values tensorHead, err error) {
	var fields once
	err = d.message(f, "sparse tensor", func(f field) error {
		if err := fields.check(f, "sparse tensor", 1, 2); err != nil {
			return err
		}
		switch f.num {
		case 1: // values
			values, err = d.tensor(f)
			return err
		case 2: // indices
			_, err := d.tensor(f)
			return err
		}
		return nil
	})
	return values, err
}

type tensorHead struct {
	name  string
	dtype int64
	dims  []int64
}

func (d *decoder) tensor(f field) (tensorHead, error) {
	var t tensorHead
	var external bool
	raw := int64(-1)
	var location string
	at := f.at
	var fields once
	err := d.message(f, "tensor", func(f field) (err error) {
		if err := fields.check(f, "tensor", 2, 8, 9, 14); err != nil {
			return err
		}
		switch f.num {
		case 1:
			t.dims, err = d.ints(f, "tensor dims", t.dims)
		case 2:
			t.dtype, err = enum(f, "tensor data_type")
		case 8:
			t.name, err = d.text(f, "tensor name")
		case 9:
			if f.typ != protowire.BytesType {
				return errorf(f.at, "tensor raw_data is not bytes")
			}
			raw = f.end - f.start
		case 13: // external_data
			external = true // whatever data_location says
			var key, value string
			var fields once
			err = d.message(f, "external_data", func(f field) (err error) {
				if err := fields.check(f, "external_data", 1, 2); err != nil {
					return err
				}
				switch f.num {
				case 1:
					key, err = d.text(f, "external_data key")
				case 2:
					value, err = d.text(f, "external_data value")
				}
				return err
			})
			if key == "location" {
				if location != "" {
					return errorf(f.at, "external_data: a second location")
				}
				location = value
			}
		case 14: // data_location
			var where int64
			where, err = enum(f, "tensor data_location")
			external = external || where != 0
		}
		return err
	})
	if err != nil {
		return t, err
	}
	bits := elementBits(t.dtype)
	elements := 1.0
	for _, n := range t.dims {
		if n < 0 {
			return t, errorf(at, "tensor %q has the dimension %d", t.name, n)
		}
		elements *= float64(n)
	}
	bytes := math.Ceil(elements * float64(bits) / 8)
	if bytes > 1<<46 {
		return t, errorf(at, "tensor %q of dimensions %v is implausibly large", t.name, t.dims)
	}
	switch {
	case external:
		if err := checkLocation(location); err != nil {
			return t, errorf(at, "tensor %q: external data %q: %v", t.name, location, err)
		}
		if !d.external[location] {
			if err := d.keep(f, 64); err != nil {
				return t, err
			}
			d.external[location] = true
		}
	case raw >= 0 && bits > 0 && raw != int64(bytes):
		return t, errorf(at, "tensor %q of %s%v has %d bytes of data instead of %d", t.name, dtypeName(t.dtype), t.dims, raw, int64(bytes))
	}
	if bits > 0 {
		name := dtypeName(t.dtype)
		d.g.WeightBytes[name] += int64(bytes)
		d.floats[name] += elements
	}
	if d.keepNodes && t.name != "" {
		d.g.Types[t.name] = dtypeName(t.dtype)
	}
	return t, nil
}

// checkLocation refuses external data outside of the model's folder.
func checkLocation(location string) error {
	switch {
	case location == "":
		return errors.New("it has no location")
	case path.IsAbs(location) || strings.Contains(location, ":/") || len(location) > 1 && location[1] == ':':
		return errors.New("an absolute path: external data must lie beside the model")
	case strings.ContainsAny(location, "\\\x00"):
		return errors.New("a file name must not contain a backslash or a zero byte")
	case slices.Contains(strings.Split(location, "/"), ".."):
		return errors.New("a path with \"..\": external data must lie beside the model")
	}
	return nil
}

package tensorio

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

func TestArraysOfOneNumberAreAGroup(t *testing.T) {
	inputs := []engine.TensorInfo{info("ids", engine.Int64, -1, -1), info("mask", engine.Int64, -1, -1), info("scale", engine.Float32)}
	for name, c := range map[string]struct {
		arrays string
		want   []string // the shape of ids, mask and scale in each group
		err    string
	}{
		"one shape, as ever":                 {"ids:8 mask:8 scale", []string{"8 8 ."}, ""},
		"numbered from 0":                    {"ids/0:8 mask/0:8 scale ids/1:32 mask/1:32", []string{"8 8 .", "32 32 ."}, ""},
		"the first without a number":         {"ids:8 mask:8 scale ids/1:32 mask/1:32", []string{"8 8 .", "32 32 ."}, ""},
		"one array for all":                  {"ids:8 ids/1:32 mask:8 scale", []string{"8 8 .", "32 8 ."}, ""},
		"no number":                          {"ids:8 ids/one:32 ids/01:64 mask:8 scale", []string{"8 8 ."}, ""},
		"an input that lacks a group":        {"ids:8 ids/1:32 ids/2:64 mask:8 mask/1:32 scale", nil, `which has an array "ids/2" and none named "mask/2"`},
		"a group in between that is missing": {"ids:8 ids/2:32 mask:8 mask/1:32 mask/2:32 scale", nil, `which has an array "ids/2" and none named "ids/1"`},
	} {
		var arrays []engine.Tensor
		for _, a := range strings.Fields(c.arrays) {
			array, length, _ := strings.Cut(a, ":")
			one := engine.Tensor{Name: array, Shape: []int64{}}
			if length != "" {
				one.Shape = append(one.Shape, int64(len(length)), map[string]int64{"8": 8, "32": 32, "64": 64}[length])
			}
			arrays = append(arrays, one)
		}
		groups, err := Groups("inputs.npz", inputs, arrays)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
			continue
		}
		var got []string
		for _, g := range groups {
			var words []string
			for _, in := range inputs {
				i := slices.IndexFunc(g, func(a engine.Tensor) bool { return a.Name == in.Name })
				switch {
				case i < 0:
					words = append(words, "none")
				case len(g[i].Shape) == 0:
					words = append(words, ".")
				default:
					words = append(words, map[int64]string{8: "8", 32: "32", 64: "64"}[g[i].Shape[1]])
				}
			}
			got = append(got, strings.Join(words, " "))
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestGroupsAreReadAndTheItemsOfSequencesAreNone(t *testing.T) {
	sequence := info("boxes", engine.Float32, -1)
	sequence.In = []engine.Container{engine.Sequence}
	inputs := []engine.TensorInfo{info("ids", engine.Int64, -1, -1), sequence, info("ids/7", engine.Int64, 1)}
	wanted := ForInputs(inputs)
	for array, want := range map[string]bool{"ids": true, "ids/1": true, "ids/x": false, "other/1": false, "boxes/1": true} {
		if wanted(array) != want {
			t.Errorf("%s is read: %t", array, !want)
		}
	}
	arrays := []engine.Tensor{{Name: "ids"}, {Name: "boxes/1"}, {Name: "ids/7"}}
	groups, err := Groups("inputs.npz", inputs, arrays)
	if err != nil || len(groups) != 1 || !reflect.DeepEqual(groups[0], arrays) {
		t.Errorf("%+v, %v", groups, err)
	}
}

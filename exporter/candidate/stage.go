package candidate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// ErrChanged says that a candidate is no longer what was scanned.
var ErrChanged = errors.New("the candidate changed since the repository was scanned: the next pass scans it again")

// Stage copies the candidate's files into dir, under the names that they have
// in a version's folder, and checks them against the candidate's digests. The
// caller owns dir and removes it.
func (r *Repository) Stage(ctx context.Context, c Candidate, dir string) error {
	digests, data := map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		digest, err := r.stageFile(ctx, c.Files[name], filepath.Join(dir, filepath.FromSlash(name)))
		if errors.Is(err, errChanged) {
			err = ErrChanged
		}
		if err != nil {
			return fmt.Errorf("stage %s version %s: %w", c.Model, c.Version, err)
		}
		switch {
		case name == ConfigFile:
		case slices.Contains(evaluationFiles, name):
			data[name] = digest
		default:
			digests[name] = digest
		}
	}
	if combine(digests) != c.Digest || combine(data) != c.DataDigest {
		return fmt.Errorf("stage %s version %s: %w", c.Model, c.Version, ErrChanged)
	}
	return nil
}

func (r *Repository) stageFile(ctx context.Context, key, to string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	digest, err := r.copyObject(ctx, key, -1, f)
	return digest, errors.Join(err, f.Close())
}

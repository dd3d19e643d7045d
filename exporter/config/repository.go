package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v3"
)

// Repository is where candidates are found.
type Repository struct {
	// URL is a bucket that gocloud.dev/blob opens; a folder is given as its
	// path or as a file URL.
	URL string
	// Quiet is how long a file must not have changed before it is read; 0 takes
	// every file as it is.
	Quiet time.Duration
	// MaxSize is how many bytes the files of a candidate may have together.
	MaxSize int64
	// MaxModels is how many models are measured.
	MaxModels int
	// Backlog is how many versions older than the newest are measured when they
	// have no result; they are taken oldest first.
	Backlog int
	// Import says which versions of a model that is first seen are measured, as its
	// history: ImportAll, or ImportNewest for what Backlog says.
	Import string
	// KeepDeleted is how long the result of a deleted version counts, while no newer
	// version has a result; 0 ends it with the next pass.
	KeepDeleted time.Duration
	// WriteResults gives a version in MLflow's registry its results as tags.
	WriteResults bool
}

// The values of Repository.Import.
const (
	ImportAll    = "all"
	ImportNewest = "newest"
)

func (c *Config) repository(d *decoder, key string, n *yaml.Node) {
	var written *yaml.Node
	d.mapping(key, n, map[string]field{
		"url":          d.scalar(c.repositoryURL),
		"quiet":        d.duration(&c.Repository.Quiet, 0, time.Hour),
		"max_size":     d.bytes(&c.Repository.MaxSize, 1<<10, 1<<50),
		"max_models":   d.integer(&c.Repository.MaxModels, 1, 1_000_000),
		"backlog":      d.integer(&c.Repository.Backlog, 0, 1_000_000),
		"import":       d.oneOf(&c.Repository.Import, ImportAll, ImportNewest),
		"keep_deleted": d.duration(&c.Repository.KeepDeleted, 0, 3650*24*time.Hour),
		"write_results": func(key string, n *yaml.Node) {
			d.boolean(&c.Repository.WriteResults)(key, n)
			written = n
		},
	})
	if c.Repository.WriteResults && !strings.HasPrefix(c.Repository.URL, "mlflow://") {
		d.errorf(written, key+".write_results", "needs a registry that keeps tags: repository.url mlflow://")
	}
}

func (c *Config) repositoryURL(s string) error {
	if s == "" {
		return errors.New(`must be a folder, or a bucket such as "s3://models"`)
	}
	if err := checkPath(s); err != nil {
		return err
	}
	if strings.Contains(s, "://") {
		if u, err := url.Parse(s); err != nil {
			return fmt.Errorf("not a URL: %w", errors.Unwrap(err))
		} else if u.User != nil {
			return errors.New("must hold no user or password: credentials come from the cloud's usual environment")
		}
	}
	c.Repository.URL = s
	return nil
}

func (c *Config) schedule(s string) error {
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return fmt.Errorf(`%q is not a cron expression (%w): write one such as "*/5 * * * *" or "@every 1m"`, s, err)
	}
	// cron makes a second of whatever is shorter, zero and less included.
	if every, ok := strings.CutPrefix(s, "@every "); ok {
		if interval, err := time.ParseDuration(every); err != nil || interval < time.Second {
			return fmt.Errorf(`%q is shorter than a second: write an interval such as "@every 1m"`, s)
		}
	}
	// It looks five years ahead, which every leap year is within.
	if schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return fmt.Errorf(`%q never occurs: no such day exists`, s)
	}
	c.Cron, c.Schedule = s, schedule
	return nil
}

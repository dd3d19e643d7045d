package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// mistake words an error about the arguments: which command, which flag, what is wrong
// with it and where to look. kingpin's own errors name neither the command nor the flag.
func mistake(app *kingpin.Application, args []string, err error) string {
	command, subject := app.Name, ""
	if c, _ := app.ParseContext(args); c != nil {
		if c.SelectedCommand != nil {
			command += " " + c.SelectedCommand.FullCommand()
		}
		subject = refused(c)
	}
	return fmt.Sprintf("%s: %s%s; see %s --help", command, subject, words(err), command)
}

// refused names the flag or argument whose value is wrong: `--limit "x": `.
func refused(c *kingpin.ParseContext) string {
	for _, e := range c.Elements {
		if e.Value == nil {
			continue
		}
		switch clause := e.Clause.(type) {
		case *kingpin.FlagClause:
			if m := clause.Model(); m.Value.Set(*e.Value) != nil {
				return fmt.Sprintf("--%s %q: ", m.Name, *e.Value)
			}
		case *kingpin.ArgClause:
			if m := clause.Model(); m.Value.Set(*e.Value) != nil {
				return fmt.Sprintf("%s %q: ", strings.ToUpper(m.Name), *e.Value)
			}
		}
	}
	return ""
}

// words puts kingpin's errors, and those of the parsers behind it, as plancast would.
func words(err error) string {
	text := err.Error()
	var number *strconv.NumError
	if errors.As(err, &number) {
		return "write a number"
	}
	if strings.HasPrefix(text, "time: ") {
		return "write a duration such as 30s"
	}
	if list, ok := strings.CutPrefix(text, "enum value must be one of "); ok {
		list, _, _ = strings.Cut(list, ", got ")
		return "must be one of " + strings.ReplaceAll(list, ",", ", ")
	}
	if list, ok := strings.CutPrefix(text, "required flag(s) "); ok {
		names := strings.Split(strings.ReplaceAll(strings.TrimSuffix(list, " not provided"), "'", ""), ", ")
		slices.Sort(names) // kingpin's order is random
		return "missing " + strings.Join(names, ", ")
	}
	if name, ok := strings.CutPrefix(text, "required argument '"); ok {
		name, _, _ = strings.Cut(name, "'")
		return "missing " + strings.ToUpper(name)
	}
	if name, ok := strings.CutPrefix(text, "expected command but got "); ok {
		return "unknown command " + name
	}
	return text
}

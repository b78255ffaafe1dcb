package config

import (
	"strings"

	"tocsin/sensors"
)

// unit brings a unit into UCUM, or says what it may have been meant to be. path
// leads to the value that it stands in.
func (l *loader) unit(unit *string, path []string) {
	if *unit == "" {
		return
	}
	ucum, err := sensors.ParseUnit(*unit)
	if err == nil {
		*unit = ucum
		return
	}
	problem, cure := err.Error(), ""
	for _, begin := range []string{"did you mean ", "write it in UCUM"} {
		if i := strings.LastIndex(problem, ": "+begin); i >= 0 {
			problem, cure = problem[:i], problem[i+2:]
		}
	}
	l.fail(l.at(path...), cure, "%s", problem)
}

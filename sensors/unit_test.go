package sensors_test

import (
	"errors"
	"strings"
	"testing"

	"tocsin/sensors"
)

func TestParseUnit(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " ": "", "1": "1",
		"Cel": "Cel", "°C": "Cel", "degC": "Cel", "℃": "Cel", "degF": "[degF]", "°F": "[degF]", "K": "K",
		"rpm": "/min", "1/min": "/min", "U/min": "/min", "/min": "/min", "min-1": "min-1", "min⁻¹": "min-1",
		"m³/h": "m3/h", "m3/h": "m3/h", "m^3/h": "m3/h", "Nm³/h": "m3{normal}/h", "l/min": "L/min", "lpm": "L/min", "gpm": "[gal_us]/min",
		"kPa": "kPa", "MPa": "MPa", "mbar": "mbar", "bar": "bar", "bar(g)": "bar{gauge}", "psi": "[psi]", "mmHg": "mm[Hg]",
		"mm/s": "mm/s", "m/s²": "m/s2", "[g]": "[g]", "g-force": "[g]", "mm/sec": "mm/s", "µm": "um", "μm": "um", "mils": "[mil_i]", "in/s": "[in_i]/s",
		"A": "A", "mA": "mA", "V": "V", "kV": "kV", "kW": "kW", "kWh": "kW.h", "kVA": "kV.A", "Hz": "Hz", "kHz": "kHz", "Ω": "Ohm", "MΩ": "MOhm",
		"%": "%", "%RH": "%{RH}", "ppm": "[ppm]", "pH": "[pH]", "µS/cm": "uS/cm", "g": "g", "t/h": "t/h", "kg/h": "kg/h", "Nm": "N.m", "J/Nm": "J/N/m", "N·m": "N.m",
		"°C/min": "Cel/min", "W/m²": "W/m2", "deg": "deg", "rad/s": "rad/s", "dB": "dB", "lx": "lx", "hPa": "hPa", "{pieces}/min": "{pieces}/min",
		"kg/m3": "kg/m3", "mg/L": "mg/L", "mg/l": "mg/L", " bar ": "bar", "mm / s": "mm/s", "ft": "[ft_i]", "hp": "[HP]",
	} {
		if got, err := sensors.ParseUnit(in); err != nil || got != want {
			t.Errorf("ParseUnit(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

// What is refused comes with the unit that was probably meant.
func TestUnknownUnit(t *testing.T) {
	for in, suggestion := range map[string]string{
		"c": `"Cel"`, "C": `"Cel"`, "F": `"[degF]"`, "HZ": `"Hz"`, "KPA": `"kPa"`, "Bar": `"bar"`, "MM/S": `"mm/s"`, "rmp": `"rpm"`, "°CC": `"°C"`,
		"C/min": `"Cel/min"`, "mm/sek": `"mm/s"`, "m³/std": `"m3/h"`, "Grad": `"°C"`, "kg/secnd": `"kg/s"`, "M3/h": `"m3/h"`, "celcius": `"celsius"`, "percnt": `"percent"`,
		"xyzzyfoo": "{pieces}", "m//s": "", "/": "", ".": "", "m.": "", "m{": "", "{}": "", "m{a}b": "", "m{ä}": "", "m99": "", "[furlong]": "", "kbar(": "", strings.Repeat("m.", 40): "64",
	} {
		got, err := sensors.ParseUnit(in)
		if !errors.Is(err, sensors.ErrUnknownUnit) || !strings.Contains(err.Error(), suggestion) {
			t.Errorf("ParseUnit(%q) = %q, %v; want a refusal with %s", in, got, err, suggestion)
		}
	}
}

// A code that ParseUnit gave is a code.
func FuzzParseUnit(f *testing.F) {
	for _, s := range []string{"°C", "m³/h", "{a.b/c}m2", "bar(g)/s", "1/min", "..", "-2", "m-", "k", "%RH2", "Nm3", "cbm0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ucum, err := sensors.ParseUnit(s)
		if err != nil {
			return
		}
		if again, err := sensors.ParseUnit(ucum); err != nil || again != ucum {
			t.Errorf("ParseUnit(%q) = %q, but that is parsed as %q, %v", s, ucum, again, err)
		}
	})
}

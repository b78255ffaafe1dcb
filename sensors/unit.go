package sensors

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Units are written in UCUM, the Unified Code for Units of Measure
// (ucum.org), case-sensitive form: a code that any other system can read back.
// The tables hold what is measured in factories; prefixes, exponents, products
// and quotients follow UCUM's own grammar (section 2).

// metric units take a prefix: mbar, kPa, uS.
var metric = words(`m g s A K mol cd rad Hz N Pa J W V Ohm S F H T Wb lm lx Bq Gy Sv Cel L t bar cal eV m[H2O] m[Hg]`)

// plain units take none.
var plain = words(`min h d wk mo a deg ' % [ppth] [ppm] [ppb] [pH] B dB Np atm att By bit
	[g] [degF] [degR] [psi] [in_i] [ft_i] [yd_i] [mi_i] [mil_i] [sft_i] [cft_i] [cin_i] [gal_us] [gal_br] [bbl_us]
	[lb_av] [oz_av] [ston_av] [lbf_av] [HP] [Btu] [kn_i] [in_i'H2O] [in_i'Hg] har gon circ`)

const prefixes = "TGMkhdcmunp"

// aliases are what people write, whole or as one factor of a product; the
// meaning wins that a plant gives them where UCUM has another (Nm, pH, ft).
var aliases = pairs(`
	°C Cel | degC Cel | ℃ Cel | celsius Cel | °F [degF] | degF [degF] | ℉ [degF] | fahrenheit [degF] | °K K | kelvin K
	rpm /min | RPM /min | U/min /min | 1/min /min | rev/min /min | r/min /min | tr/min /min | cpm /min | rps /s | cps /s
	g-force [g] | gn [g] | gee [g] | mm/sec mm/s | ips [in_i]/s | in/s [in_i]/s | mil [mil_i] | mils [mil_i]
	in [in_i] | inch [in_i] | ft [ft_i] | feet [ft_i] | yd [yd_i] | mile [mi_i] | mph [mi_i]/h | kmh km/h | kph km/h | kn [kn_i]
	psi [psi] | psig [psi]{gauge} | psia [psi]{absolute} | barg bar{gauge} | bar(g) bar{gauge} | bara bar{absolute} | bar(a) bar{absolute}
	mmHg mm[Hg] | torr mm[Hg] | Torr mm[Hg] | inHg [in_i'Hg] | inH2O [in_i'H2O] | mmH2O mm[H2O] | cmH2O cm[H2O] | mH2O m[H2O] | mWS m[H2O]
	l L | ml mL | liter L | litre L | lpm L/min | cbm m3 | gal [gal_us] | gpm [gal_us]/min | GPM [gal_us]/min | bbl [bbl_us]
	cfm [cft_i]/min | CFM [cft_i]/min | cfh [cft_i]/h | scfm [cft_i]{standard}/min | ft3 [cft_i] | Nm3 m3{normal} | Sm3 m3{standard} | slpm L{standard}/min
	lb [lb_av] | lbs [lb_av] | oz [oz_av] | lbf [lbf_av] | ton t | tonne t | kgs kg
	Nm N.m | kNm kN.m | mNm mN.m | lbft [ft_i].[lbf_av] | lb-ft [ft_i].[lbf_av]
	VA V.A | kVA kV.A | MVA MV.A | var V.A{reactive} | kvar kV.A{reactive} | Mvar MV.A{reactive} | hp [HP] | HP [HP] | BTU [Btu] | btu [Btu]
	Wh W.h | kWh kW.h | MWh MW.h | Ah A.h | mAh mA.h | amp A | amps A | volt V | volts V | watt W | Vrms V{eff}
	Ω Ohm | kΩ kOhm | MΩ MOhm | mΩ mOhm | ohm Ohm | ohms Ohm | Ω Ohm
	percent % | pct % | %RH %{RH} | %rh %{RH} | ‰ [ppth] | ppm [ppm] | ppb [ppb] | pH [pH] | NTU {NTU} | FNU {FNU} | dBA dB{A} | dB(A) dB{A}
	° deg | degree deg | degrees deg | sec s | secs s | second s | seconds s | mins min | minute min | minutes min | hr h | hrs h | hour h | hours h | day d | days d
	lux lx | hertz Hz | pascal Pa | micron um | kcal kcal | mps m/s | rad/sec rad/s`)

// hints are spellings that UCUM reads as something no plant measures, or not at
// all: what was meant is asked, never guessed.
var hints = pairs(`c Cel | C Cel | f [degF] | F [degF] | G [g] | gs [g] | k K | Amp A | U V | mmps mm/s | Ps [HP] | PS [HP] | mA/V S
	sek s | Sek s | Sekunde s | std h | Std h | Stunde h | grad °C | Grad °C | barü barg | stk {pieces} | Stk {pieces} | pcs {pieces} | Upm rpm`)

// common is what a suggestion is first looked for among.
var common = strings.Fields(`mm/s Cel bar A rpm m3/h kW V Hz % [g] m/s2 kPa MPa mbar L/min um [degF] K mA N.m kW.h dB kg/h t/h Pa W m3 L kg s h min m mm Ohm lx`)

var spelling = strings.NewReplacer("²", "2", "³", "3", "⁻", "-", "¹", "1", "^", "", "·", ".", "⋅", ".", "*", ".", "µ", "u", "μ", "u", "−", "-", " ", "")

// ParseUnit gives the UCUM code of a unit: as it stands ("mm/s", "m3/h") or by
// what people write ("°C", "rpm", "m³/h", "psi"). A unit of the site's own goes
// in braces, which UCUM calls an annotation: "{pieces}/min". The empty text is
// the empty code: no unit is known. An unknown unit is refused with
// ErrUnknownUnit and, where one is near, the unit that was probably meant.
func ParseUnit(s string) (ucum string, err error) {
	text := strings.TrimSpace(s)
	if text == "" {
		return "", nil
	}
	if len(text) > 64 {
		return "", fmt.Errorf("%w: longer than 64 bytes", ErrUnknownUnit)
	}
	if ucum, ok := whole(text); ok {
		return ucum, nil
	}
	spelled := spelling.Replace(text)
	ucum, unknown, ok := product(spelled)
	if ok {
		return ucum, nil
	}
	if _, near := nearest(text); near == 0 { // only the case is wrong
		unknown = text
	}
	of := ""
	if unknown != text {
		of = fmt.Sprintf(" in %q", text)
	}
	if near, _ := nearest(unknown); near != "" {
		if meant, _, ok := product(strings.Replace(spelled, unknown, near, 1)); ok && of != "" {
			near = meant
		}
		return "", fmt.Errorf("%w %q%s: did you mean %q?", ErrUnknownUnit, unknown, of, near)
	}
	return "", fmt.Errorf("%w %q%s: write it in UCUM (mm/s, Cel, bar, m3/h, /min), or in braces if it is your own: {pieces}", ErrUnknownUnit, unknown, of)
}

// whole looks a spelling up, as written and with its signs made plain.
func whole(text string) (string, bool) {
	if ucum, ok := aliases[text]; ok {
		return ucum, true
	}
	ucum, ok := aliases[spelling.Replace(text)]
	return ucum, ok
}

// product parses factors with "." and "/" between them. It returns the first
// that is unknown where there is one.
func product(s string) (ucum, unknown string, ok bool) {
	var b strings.Builder
	if s == "1" {
		return s, "", true
	}
	if strings.HasPrefix(s, "1/") {
		s = s[1:]
	}
	for first := true; s != "" || first; first = false {
		over := s != "" && s[0] == '/'
		if over || s != "" && s[0] == '.' && !first {
			b.WriteByte(s[0])
			s = s[1:]
		}
		end := factorEnd(s)
		code, known := factor(s[:end])
		if !known {
			return "", s[:end], false
		}
		if over { // J/Nm is J/(N.m)
			code = strings.ReplaceAll(code, ".", "/")
		}
		b.WriteString(code)
		s = s[end:]
	}
	return b.String(), "", true
}

// factorEnd is where the next "." or "/" outside braces and brackets stands.
func factorEnd(s string) int {
	depth := 0
	for i, r := range s {
		switch {
		case r == '{' || r == '[':
			depth++
		case r == '}' || r == ']':
			depth--
		case (r == '/' || r == '.') && depth == 0:
			return i
		}
	}
	return len(s)
}

// factor parses one unit with prefix, exponent and annotation: "um", "s-2",
// "bar{gauge}".
func factor(s string) (string, bool) {
	name, note := s, ""
	if i := strings.IndexByte(s, '{'); i >= 0 {
		name, note = s[:i], s[i:]
		if strings.IndexByte(note, '}') != len(note)-1 || strings.ContainsFunc(note, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", false
		}
		if name == "" {
			return note, len(note) > 2
		}
	}
	if _, ask := hints[name]; ask {
		return "", false
	}
	base := strings.TrimRight(name, "0123456789")
	exponent := name[len(base):]
	if len(exponent) > 1 {
		return "", false
	}
	if cut, minus := strings.CutSuffix(base, "-"); minus && exponent != "" {
		base, exponent = cut, "-"+exponent
	}
	if code, ok := aliases[name]; ok && !strings.ContainsAny(code, "/") && (note == "" || !strings.Contains(code, "{")) {
		return code + note, true
	}
	if code, ok := aliases[base]; ok && exponent != "" && !strings.ContainsAny(code, "/.{") && strings.TrimRight(code, "0123456789") == code {
		return code + exponent + note, true
	}
	return base + exponent + note, isUnit(base)
}

func isUnit(name string) bool {
	if metric[name] || plain[name] {
		return true
	}
	return len(name) > 1 && strings.IndexByte(prefixes, name[0]) >= 0 && metric[name[1:]]
}

// nearest is the known spelling with the fewest letters to change, however they
// are cased, and how many; none when that is more than half of them.
func nearest(s string) (string, int) {
	if near, ok := hints[s]; ok {
		return near, 1
	}
	candidates := append(slices.Clone(common), slices.Sorted(maps.Keys(aliases))...)
	best, least := "", 1+len([]rune(s))/2
	for _, c := range candidates {
		if d := distance([]rune(strings.ToLower(s)), []rune(strings.ToLower(c))); d < least {
			best, least = c, d
		}
	}
	return best, least
}

// distance is how many letters to insert, delete, replace, or swap with their
// neighbour (optimal string alignment).
func distance(a, b []rune) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range b {
		d[0][j+1] = j + 1
	}
	for i := range a {
		for j := range b {
			replace := d[i][j]
			if a[i] != b[j] {
				replace++
			}
			d[i+1][j+1] = min(d[i][j+1]+1, d[i+1][j]+1, replace)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d[i+1][j+1] = min(d[i+1][j+1], d[i-1][j-1]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

func pairs(s string) map[string]string {
	m := map[string]string{}
	for row := range strings.SplitSeq(strings.ReplaceAll(s, "\n", "|"), "|") {
		if f := strings.Fields(row); len(f) == 2 {
			m[f[0]] = f[1]
		}
	}
	return m
}

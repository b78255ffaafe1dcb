package detectors

import "math"

// Gaussian is the limit of |z| that a Gaussian reading passes with probability
// p, both sides together (Abramowitz & Stegun 26.2.23; error below 0.0005). Its
// bits are the same on every architecture.
func Gaussian(p float64) float64 {
	p = min(max(p, 1e-300), 0.5) / 2
	t := math.Sqrt(-2 * Logarithm(p))
	above := 2.515517 + float64(t*(0.802853+float64(t*0.010328)))
	below := 1 + float64(t*(1.432788+float64(t*(0.189269+float64(t*0.001308)))))
	return t - above/below
}

// Logarithm is the natural logarithm of a positive, normal x, to 1e-12. The one
// of package math is assembly on some architectures and fused on others, and
// would give a detector different bits on each.
func Logarithm(x float64) float64 {
	bits := math.Float64bits(x)
	exponent := float64(int(bits>>52&0x7ff) - 1023)
	m := math.Float64frombits(bits&(1<<52-1) | 1023<<52) // in [1,2)
	if m > math.Sqrt2 {
		m, exponent = m/2, exponent+1
	}
	s := (m - 1) / (m + 1) // |s| < 0.172: log m = 2 artanh s
	s2 := float64(s * s)
	sum := 0.0
	for k := 17.0; k >= 1; k -= 2 {
		sum = 1/k + float64(s2*sum)
	}
	return float64(exponent*math.Ln2) + float64(2*s*sum)
}

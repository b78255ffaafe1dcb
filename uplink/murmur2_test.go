package uplink

import "testing"

// The vectors are those of Kafka's own UtilsTest.testMurmur2.
func TestMurmur2AsJava(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := murmur2(key); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartitionIsNeverNegative(t *testing.T) {
	for key, want := range map[string]int32{"21": 1173551340 % 3, "abc": 479470107 % 3} {
		if got := Partition(key, 3); got != want {
			t.Errorf("Partition(%q, 3) = %d, want %d", key, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Partition("acme/plant3/press-shop/pump1", 12) }); n != 0 {
		t.Errorf("Partition allocates %v times", n)
	}
}

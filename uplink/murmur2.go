package uplink

import "math"

// Partition is where Kafka's Java client would put a record with this key:
// toPositive(murmur2(key)) mod partitions (BuiltInPartitioner.partitionForKey),
// so that a machine's events share a partition whoever writes them. partitions
// must be above 0.
func Partition(key string, partitions int32) int32 {
	return (murmur2(key) & math.MaxInt32) % partitions
}

// murmur2 is Austin Appleby's 32-bit MurmurHash2 with the seed of Kafka's Java
// client (org.apache.kafka.common.utils.Utils.murmur2).
func murmur2(key string) int32 {
	const (
		m = 0x5bd1e995
		r = 24
	)
	h := uint32(0x9747b28c) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h ^= h >> 13
	h *= m
	return int32(h ^ h>>15)
}

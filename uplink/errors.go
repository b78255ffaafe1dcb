package uplink

import "errors"

var (
	// ErrMissing says that a topic, or a partition of it, does not exist
	// (Kafka's [3]). The Forwarder asks again how many partitions there are.
	ErrMissing = errors.New("topic or partition does not exist")
	// ErrNotInFlight is what a Spool answers to Done, Rewrite and Bury of a batch
	// that it does not have in flight, as after a file was set aside as damaged.
	// The Forwarder then goes on to the next.
	ErrNotInFlight = errors.New("the batch is not in flight")
)

// Package street drives the built agent as a user would: a real MQTT broker on
// one side, a real Kafka on the other, and everything matched from outside, by
// machine, channel and time. All of it is tests.
//
// Without further ado the servers live inside the test. Where TOCSIN_TEST_MQTT
// and TOCSIN_TEST_KAFKA name real ones, the same tests run against those;
// .ci/run sets them.
package street

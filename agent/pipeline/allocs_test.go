package pipeline

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"tocsin/sensors/mqtt"
)

// TestNoAllocationsFromPayloadToVerdict sends MQTT messages through the real
// street as far as the judge: the connection, the decoder, the queue, seven
// detectors.
func TestNoAllocationsFromPayloadToVerdict(t *testing.T) {
	const channels, messages = 20, 1000
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var topics []mqtt.Topic
	for i := range channels {
		topics = append(topics, mqtt.Topic{Topic: fmt.Sprint("load/", i), Pointer: "/value", Channel: fmt.Sprintf("m%d.c%d", i%5, i),
			Unit: "mm/s", Time: "/time", TimeFormat: "unix_ns", Scale: 1})
	}
	source, err := mqtt.New(mqtt.Options{Name: "hall", Broker: "tcp://" + listener.Addr().String(), ClientID: "gw", Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	j, _ := judging(t, channels)
	w, err := j.Queue.Writer("mqtt.hall", source.Channels())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, judged := make(chan error, 1), make(chan struct{})
	go func() { ended <- source.Run(ctx, w) }()
	go func() { j.Run(); close(judged) }()
	defer func() { // last of all: the judge ends once its queue is closed
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		j.Queue.Close()
		<-judged
	}()
	broker, err := greet(listener)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() }) // after the source has left

	sent, at := uint64(0), time.Now().UnixNano()
	packets := make([]byte, 0, 256<<10)
	thousand := func() {
		packets = packets[:0]
		for i := range messages {
			at += int64(time.Millisecond)
			packets = appendPublish(packets, i%channels, at, float64(20+(i*7919)%13))
		}
		if _, err := broker.Write(packets); err != nil {
			t.Error(err)
		}
		late := time.Now().Add(10 * time.Second)
		for sent += messages; w.Counters.Judged.Load() < sent && !t.Failed(); time.Sleep(time.Millisecond) {
			if time.Now().After(late) {
				t.Errorf("%d of %d messages are judged", w.Counters.Judged.Load(), sent)
			}
		}
	}
	for range 8 * channels { // what grows with use has grown, and every detector has learned
		thousand()
	}
	if n := testing.AllocsPerRun(20, thousand); n > 1 { // a timer of the runtime's now and then
		t.Errorf("%v allocations in %d messages, want none", n, messages)
	}
}

// greet takes a client's connection and its subscriptions, as a broker does
// (MQTT 3.1.1, 3.2 and 3.9).
func greet(l net.Listener) (net.Conn, error) {
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(c)
	for range 1 + 3 { // CONNECT, and three SUBSCRIBE of at most eight filters
		first, err := in.ReadByte()
		if err != nil {
			return nil, err
		}
		length, err := binary.ReadUvarint(in) // small enough to be MQTT's
		if err != nil {
			return nil, err
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, err
		}
		answer := []byte{2 << 4, 2, 0, 0}
		if first>>4 == 8 {
			filters := 0
			for rest := body[2:]; len(rest) > 0; filters++ {
				rest = rest[2+int(binary.BigEndian.Uint16(rest))+1:]
			}
			answer = append([]byte{9 << 4, byte(2 + filters), body[0], body[1]}, make([]byte, filters)...)
		}
		if _, err := c.Write(answer); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// padding makes every message longer than 127 bytes.
const padding = "................................................................"

// appendPublish appends a PUBLISH at QoS 0 (MQTT 3.1.1, 3.3).
func appendPublish(to []byte, channel int, at int64, value float64) []byte {
	from := len(to)
	to = append(to, 3<<4, 0, 0) // the length takes two bytes
	to = append(to, 0, 0)
	to = strconv.AppendInt(append(to, "load/"...), int64(channel), 10)
	binary.BigEndian.PutUint16(to[from+3:], uint16(len(to)-from-5))
	to = strconv.AppendInt(append(to, `{"time":`...), at, 10)
	to = strconv.AppendFloat(append(to, `,"unit":"mm/s","quality":"good","machine":"m1","value":`...), value, 'g', -1, 64)
	to = append(append(append(to, `,"rest":"`...), padding...), `"}`...)
	n := len(to) - from - 3
	to[from+1], to[from+2] = byte(n&0x7f|0x80), byte(n>>7)
	return to
}

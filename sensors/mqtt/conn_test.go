package mqtt

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// stream is a connection from which fixed bytes come.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(b []byte) (int, error) { return s.Reader.Read(b) }
func (stream) Close() error                 { return nil }

// FuzzPackets holds the reading of PUBLISH packets against paho's: the same
// messages, and the same packets left over for paho, however the bytes arrive.
func FuzzPackets(f *testing.F) {
	var b bytes.Buffer
	for i, payload := range []string{"", "1.5", string(make([]byte, 300))} {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.Qos, p.MessageID, p.TopicName, p.Payload = byte(i), uint16(i), "a/b", []byte(payload)
		_ = p.Write(&b)
		_ = packets.NewControlPacket(packets.Pingresp).Write(&b)
	}
	f.Add(b.Bytes(), uint16(1000))
	f.Add(b.Bytes(), uint16(10))
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}, uint16(10))
	f.Fuzz(func(t *testing.T, wire []byte, most uint16) {
		var got []message
		c := newConn(stream{Reader: iotest.HalfReader(bytes.NewReader(wire))}, int(most), func(m message) {
			m.topic, m.payload = bytes.Clone(m.topic), bytes.Clone(m.payload)
			got = append(got, m)
		})
		var left []byte
		for {
			p, err := packets.ReadPacket(c)
			if err != nil {
				break
			}
			left = append(left, p.(interface{ String() string }).String()...)
		}
		if len(c.buf) > int(most)+mostTopicBytes+4*bufferBytes {
			t.Fatalf("%d bytes held for payloads of at most %d", len(c.buf), most)
		}
		var want []byte
		n := 0
		for r := bytes.NewReader(wire); ; {
			p, err := packets.ReadPacket(r)
			if err != nil || n > len(got) {
				return // where paho stops, the two need not agree
			}
			pub, ok := p.(*packets.PublishPacket)
			if !ok {
				if want = append(want, p.String()...); !bytes.HasPrefix(left, want) && n <= len(got) && len(left) >= len(want) {
					t.Fatalf("left for paho: %q, want %q", left, want)
				}
				continue
			}
			if n == len(got) {
				return // ours refused the rest of the stream
			}
			m := got[n]
			n++
			if m.qos != pub.Qos || m.retained != pub.Retain || pub.Qos > 0 && m.id != pub.MessageID {
				t.Fatalf("message %+v, want %+v", m, pub)
			}
			if big := len(pub.TopicName) > mostTopicBytes || len(pub.Payload) > int(most); big != m.tooLarge {
				t.Fatalf("too large: %v, want %v", m.tooLarge, big)
			}
			if !m.tooLarge && (string(m.topic) != pub.TopicName || !bytes.Equal(m.payload, pub.Payload)) {
				t.Fatalf("message %q %q, want %q %q", m.topic, m.payload, pub.TopicName, pub.Payload)
			}
		}
	})
}

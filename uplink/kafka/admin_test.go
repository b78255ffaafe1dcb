package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tocsin/uplink/uplinktest"
)

// admin looks at a cluster with franz-go, a library that shares no code with
// the Sink.
type admin struct{ opts []kgo.Opt }

// realAdmin looks at a cluster with a plain listener.
func realAdmin(addrs []string) admin { return admin{[]kgo.Opt{kgo.SeedBrokers(addrs...)}} }

func (a admin) client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(slices.Clone(a.opts), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var made atomic.Int64 // makes names unique within this process

// topic creates a topic and waits until it has leaders.
func (a admin) topic(t testing.TB, partitions int32, settings map[string]string) string {
	t.Helper()
	c := a.client(t)
	name := fmt.Sprintf("tocsin-test-%d-%d", time.Now().UnixNano(), made.Add(1))
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		v := settings[k]
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
	}
	req.Topics = append(req.Topics, topic)
	got, err := req.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(got.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := a.ends(t.Context(), c, name) // the brokers learn of it one after another
		if err == nil {
			return name
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatal(err)
		}
	}
}

// grow gives a topic more partitions.
func (a admin) grow(t *testing.T, name string, partitions int32) {
	t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = name, partitions
	req.Topics = append(req.Topics, topic)
	got, err := req.RequestWith(t.Context(), a.client(t))
	if err == nil {
		err = kerr.ErrorForCode(got.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("grow topic %s: %v", name, err)
	}
}

// ends is the number of messages in the topic.
func (a admin) ends(ctx context.Context, c *kgo.Client, name string) (total int64, err error) {
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Topics = append(metadata.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	layout, err := metadata.RequestWith(ctx, c)
	if err != nil {
		return 0, err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = name
	for _, p := range layout.Topics[0].Partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p.Partition, -1
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	got, err := req.RequestWith(ctx, c)
	if err != nil {
		return 0, err
	}
	if len(topic.Partitions) == 0 {
		return 0, kerr.UnknownTopicOrPartition
	}
	for _, p := range got.Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return 0, fmt.Errorf("end of %s/%d: %w", name, p.Partition, err)
		}
		total += p.Offset
	}
	return total, nil
}

// read reads the whole topic, in the order of each partition.
func (a admin) read(t *testing.T, name string) []uplinktest.Message {
	t.Helper()
	c := a.client(t, kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	total, err := a.ends(ctx, c, name)
	if err != nil {
		t.Fatal(err)
	}
	var got []uplinktest.Message
	for int64(len(got)) < total {
		fetched := c.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			t.Fatalf("read %s after %d of %d: %v", name, len(got), total, err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			m := uplinktest.Message{
				Partition: r.Partition, Offset: r.Offset, Key: string(r.Key), Value: string(r.Value),
				Headers: map[string]string{}, Time: r.Timestamp,
			}
			for _, h := range r.Headers {
				m.Headers[h.Key] = string(h.Value)
			}
			got = append(got, m)
		})
	}
	return got
}

// authority is a certificate authority of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	a.cert, a.key = template, nil
	made := a.issue(t, template)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// issue signs a certificate; the authority's own by itself.
func (a *authority) issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// leaf is a certificate for a server on this machine and for a client.
func (a *authority) leaf(t *testing.T, name string) tls.Certificate {
	t.Helper()
	return a.issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// testTopic is topic as the contract suite asks for it.
func (a admin) testTopic(t *testing.T, partitions int32, settings map[string]string) string {
	t.Helper()
	return a.topic(t, partitions, settings)
}

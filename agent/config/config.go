// Package config is the site's TOML file: its shape, its defaults, and every
// error at once with the line, the column and the cure.
//
// A folder conf.d beside the file may hold more of them, a fleet's settings over
// a site's: they are read in the order of their names, each over those before.
// Tables are merged key by key, a later file wins where two give the same key,
// and a list is replaced as a whole. Relative paths are relative to the folder
// of the first file, whichever file names them.
//
// The structs below are the one description of the file. Their tags say what a
// key decides (doc), what it is when left out (default) and between which
// bounds it may lie (min, max, enum), whether it must be there (required) and
// whether it is a path (path: "resolve", or "secret" for a file of mode 0600).
// The JSON Schema is generated from them; three tags are for its editors alone:
// a pattern, of the names in a table of tables and of the elements of a list;
// examples, with | between them; and a key that it needs beside itself.
package config

import (
	"time"

	"tocsin/detectors"
)

// Config is one site's file. Load returns it complete: every default filled in,
// every path absolute, every unit in UCUM.
type Config struct {
	Site     Site               `toml:"site" doc:"where this gateway stands"`
	Kafka    Kafka              `toml:"kafka" doc:"where events go"`
	Spool    Spool              `toml:"spool" doc:"the buffer on the gateway's disk"`
	Alarms   Alarms             `toml:"alarms" doc:"how findings become alarms"`
	Agent    Agent              `toml:"agent" doc:"the agent itself"`
	MQTT     map[string]MQTT    `toml:"mqtt" doc:"MQTT brokers to read, by a name of your own"`
	CSV      map[string]CSV     `toml:"csv" doc:"CSV files to replay or to follow, by a name of your own"`
	Simulate map[string]Pumps   `toml:"simulate" doc:"simulated pump sets, by a name of your own"`
	Machine  map[string]Machine `toml:"machine" doc:"what is judged as a whole, by its name: the part of a channel's name before the last dot"`
	Channel  map[string]Channel `toml:"channel" pattern:"[.]" doc:"facts about one channel's sensor, by the channel's name"`
	Limit    map[string]Limit   `toml:"limit" pattern:"[.]" doc:"limits on one channel, by the channel's name"`
	Uplink   Uplink             `toml:"uplink" doc:"what else goes to Kafka, best effort beside the events; nothing unless its table is there"`

	Detect Detect `toml:"detect" doc:"settings of the detectors, for experts; the defaults suit every channel"`

	// Path is the file that Load was given, Files that one, the folder conf.d
	// beside it, and the files in it that were read: when one of them changes or
	// appears, Load may say something else. Hash is the SHA-256 of all that was
	// read, in hexadecimal. Places for later messages are found with Where.
	Path  string   `toml:"-"`
	Files []string `toml:"-"`
	Hash  string   `toml:"-"`
	// Warnings are what is legal and probably not meant, each with its place and
	// its cure, in the order of the files; Overridden are the values that two
	// files set.
	Warnings   Errors     `toml:"-"`
	Overridden []Override `toml:"-"`

	texts []source // for Where
}

// Site says where the gateway stands; the parts that are set make the path that
// Kafka keys and ce_source carry.
type Site struct {
	Device     string `toml:"device" examples:"press-7" doc:"this gateway's name, unique in the fleet; default: the host name"`
	Enterprise string `toml:"enterprise" doc:"ISA-95 enterprise"`
	Site       string `toml:"site" doc:"ISA-95 site"`
	Area       string `toml:"area" doc:"ISA-95 area"`
	Line       string `toml:"line" examples:"press-line-3" doc:"ISA-95 line or work cell"`
}

// Kafka is the central cluster.
type Kafka struct {
	Brokers []string `toml:"brokers" pattern:"^[^/@,; ]+:[0-9]+$" examples:"kafka.plant.example:9092" required:"true" doc:"host:port of one or more brokers; the others are found through them"`
	Events  string   `toml:"events" pattern:"^[a-zA-Z0-9._-]{1,249}$" default:"tocsin.events.v1" doc:"topic for events"`
	Status  string   `toml:"status" pattern:"^[a-zA-Z0-9._-]{1,249}$" default:"tocsin.status.v1" doc:"compacted topic for the gateway's status"`
	Codec   string   `toml:"codec" default:"zstd" enum:"none,gzip,snappy,lz4,zstd" doc:"compression of a batch"`
	Timeout Duration `toml:"timeout" default:"10s" min:"1s" max:"5m" doc:"how long a broker may take to answer"`
	TLS     *TLS     `toml:"tls" doc:"encrypt the connection; {} checks the broker against the system's certificates"`
	SASL    *SASL    `toml:"sasl" doc:"log in with a name and a password"`
}

// TLS names certificate files, PEM. They are read again when they change.
type TLS struct {
	CA         string `toml:"ca" examples:"certs/ca.pem" path:"resolve" doc:"certificates that the server's must descend from; default: the system's"`
	Cert       string `toml:"cert" needs:"key" examples:"certs/gw.pem" path:"resolve" doc:"this gateway's certificate, for mutual TLS"`
	Key        string `toml:"key" needs:"cert" examples:"certs/gw.key" path:"resolve" doc:"the private key of cert"`
	ServerName string `toml:"server_name" examples:"kafka.plant.example" doc:"name the server's certificate must carry, where it differs from the address"`
}

// SASL is a log-in to Kafka.
type SASL struct {
	Mechanism    string `toml:"mechanism" default:"SCRAM-SHA-512" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" doc:"how the password is proved"`
	Username     string `toml:"username" required:"true" doc:"user name"`
	PasswordFile string `toml:"password_file" examples:"kafka|secrets/kafka" path:"secret" required:"true" doc:"file that holds the password, mode 0600; a bare name is looked for among the systemd credentials first"`
}

// Spool is the buffer on disk.
type Spool struct {
	Dir     string   `toml:"dir" path:"resolve" default:"/var/lib/tocsin" doc:"folder for the buffer and the detectors' memory"`
	MaxSize Size     `toml:"max_size" default:"256MiB" min:"32MiB" max:"4GiB" doc:"disk space for events that wait; the least severe and oldest are dropped first"`
	MaxAge  Duration `toml:"max_age" default:"90d" min:"1h" max:"3650d" doc:"events older than this are dropped"`
	Commit  Duration `toml:"commit" default:"1s" min:"5ms" max:"10s" doc:"events are written to disk this often; longer spares the flash, a power cut loses at most this much; critical events are written at once"`
}

// Alarms is the life cycle of alarms.
type Alarms struct {
	Update  Duration `toml:"update" default:"1m" min:"0s" max:"1d" doc:"how often an alarm that goes on is told of again"`
	ReAlarm Duration `toml:"realarm" default:"2s" min:"0s" max:"1d" doc:"an alarm that comes back sooner than this after it was cleared waits until then"`
	Clear   Duration `toml:"clear" default:"0s" min:"0s" max:"1d" doc:"an alarm is cleared after this long without a finding"`
}

// Agent is the process itself.
type Agent struct {
	Socket string `toml:"socket" path:"resolve" default:"/run/tocsin/tocsin.sock" doc:"unix socket that status commands ask"`
	Buffer int    `toml:"buffer" default:"32768" min:"1024" max:"4194304" doc:"readings that may wait for the detectors, 24 bytes each"`
	Watch  bool   `toml:"watch" default:"true" doc:"apply this file by itself when it changes; SIGHUP and tocsin reload always do"`
	Listen string `toml:"listen" pattern:"^(127\\.[0-9.]+|localhost|\\[::1\\]):[0-9]+$" examples:"127.0.0.1:9273" doc:"address on this machine, as 127.0.0.1:9273, for /metrics, /healthz and /readyz; default: they are on the socket alone"`
}

// Uplink is what is published for dashboards and central training.
type Uplink struct {
	Scores  *Scores  `toml:"scores" doc:"how unusual every channel was, in windows of time"`
	Samples *Samples `toml:"samples" doc:"the readings, aggregated in windows of time"`
}

// Scores publishes what the detectors say of every channel, alarm or not.
type Scores struct {
	Topic    string   `toml:"topic" pattern:"^[a-zA-Z0-9._-]{1,249}$" default:"tocsin.scores.v1" doc:"topic for scores"`
	Every    Duration `toml:"every" default:"10s" min:"1s" max:"1h" doc:"length of a window"`
	Channels []string `toml:"channels" examples:"*.vibration|pump1.*" doc:"which channels; * stands for any text; default: all"`
}

// Samples publishes aggregated readings.
type Samples struct {
	Topic    string   `toml:"topic" pattern:"^[a-zA-Z0-9._-]{1,249}$" default:"tocsin.samples.v1" doc:"topic for aggregated readings"`
	Every    Duration `toml:"every" default:"10s" min:"100ms" max:"1h" doc:"length of a window"`
	Channels []string `toml:"channels" examples:"*.vibration|pump1.*" doc:"which channels; * stands for any text; default: all"`
}

// MQTT is one broker.
type MQTT struct {
	Broker       string   `toml:"broker" pattern:"^(tcp|tls|ws|wss)://[^@]+:[0-9]+" examples:"tcp://10.0.0.9:1883|tls://broker.plant.example:8883" required:"true" doc:"address: tcp://host:1883, tls://host:8883, ws://… or wss://…"`
	ClientID     string   `toml:"client_id" doc:"default: tocsin-<device>-<name of this table>"`
	Username     string   `toml:"username" doc:"user name"`
	PasswordFile string   `toml:"password_file" needs:"username" examples:"mqtt|secrets/mqtt" path:"secret" doc:"file that holds the password, mode 0600; a bare name is looked for among the systemd credentials first"`
	TLS          *TLS     `toml:"tls" doc:"certificates, for tls:// and wss://"`
	QoS          int      `toml:"qos" default:"1" min:"0" max:"2" doc:"0: readings may be lost under load; 1: the broker keeps them until judged"`
	KeepAlive    Duration `toml:"keep_alive" default:"30s" min:"1s" max:"10m" doc:"how soon a dead connection is noticed"`
	MaxPayload   Size     `toml:"max_payload" default:"64KiB" min:"64B" max:"16MiB" doc:"longer messages are refused and counted"`
	Topics       []Topic  `toml:"topics" required:"true" doc:"what to read, one row a channel; several rows may share a topic"`
}

// Topic reads one channel out of the messages of one topic filter.
type Topic struct {
	Topic      string   `toml:"topic" examples:"hall/pump1/vib|hall/+/vib|hall/#" required:"true" doc:"topic or filter; + stands for one level, # at the end for all below"`
	Format     string   `toml:"format" enum:"json,number,lines" doc:"json (default when pointer or each is given), number: the payload is one number (default otherwise), lines: rows of 'name value [time]'"`
	Pointer    string   `toml:"pointer" pattern:"^(/.*)?$" examples:"/rms|/values" doc:"JSON Pointer (RFC 6901) to the number, or to an array of numbers; relative to each where that is given"`
	Each       string   `toml:"each" pattern:"^(/.*)?$" examples:"/readings" doc:"JSON Pointer to an array whose elements are read one by one"`
	Name       string   `toml:"name" doc:"for lines: the name to take; with {name} in channel: every name"`
	Channel    string   `toml:"channel" examples:"pump1.vibration|{1}.vibration|{1}.{name}" required:"true" doc:"machine.quantity; {1}, {2} … stand for what the wildcards matched, {name} for a line's name"`
	Unit       string   `toml:"unit" examples:"mm/s|°C|bar|rpm|A|V|kW|Hz|%|m3/h|L/min|m/s2|kPa|N.m|um" doc:"unit in UCUM or an alias: Cel or °C, mm/s, bar, /min or rpm"`
	Time       string   `toml:"time" pattern:"^(/.*)?$" examples:"/t" doc:"JSON Pointer to the time of measuring, relative to each where that is given; default: when the message arrived"`
	TimeFormat string   `toml:"time_format" examples:"rfc3339|unix|unix_ms|unix_us|unix_ns|2006-01-02 15:04:05" default:"rfc3339" doc:"rfc3339, unix, unix_ms, unix_us, unix_ns, or a layout as 2006-01-02 15:04:05"`
	Interval   Duration `toml:"interval" examples:"10ms" min:"0s" max:"1d" doc:"for arrays of numbers: time between two of them; the last is the newest"`
	Scale      float64  `toml:"scale" default:"1" doc:"the reading is multiplied by this"`
	Offset     float64  `toml:"offset" default:"0" doc:"and this is added"`
}

// CSV is one file.
type CSV struct {
	Path       string            `toml:"path" examples:"data/log.csv" path:"resolve" required:"true" doc:"the file; first line a header, first column the time"`
	Follow     bool              `toml:"follow" default:"false" doc:"true: read what is appended, through rotation; false: replay once"`
	Speed      float64           `toml:"speed" default:"1" min:"0" max:"1000000" doc:"replay: 1 as recorded, 10 ten times as fast, 0 as fast as can be"`
	TimeFormat string            `toml:"time_format" examples:"auto|rfc3339|unix|unix_ms|2006-01-02 15:04:05|02.01.2006 15:04:05" default:"auto" doc:"auto, rfc3339, unix, unix_ms, unix_us, unix_ns, or a layout as 2006-01-02 15:04:05"`
	Machine    string            `toml:"machine" doc:"machine that the columns belong to; default: the name of this table"`
	Columns    map[string]string `toml:"columns" doc:"column = \"channel\" or \"channel unit\", where a channel without a dot is one of machine; default: every numeric column, named machine.column"`
	Ignore     []string          `toml:"ignore" doc:"columns to leave out"`
}

// Pumps is a simulated pump set.
type Pumps struct {
	Pumps    int      `toml:"pumps" default:"1" min:"1" max:"1000" doc:"how many pumps, named <name of this table>1, 2 …"`
	Interval Duration `toml:"interval" default:"1s" min:"1ms" max:"1h" doc:"time between two readings of a sensor"`
	Fault    bool     `toml:"fault" default:"true" doc:"let a bearing of pump 1 begin to fail"`
	FaultAt  Duration `toml:"fault_at" default:"5m" min:"0s" max:"365d" doc:"when it begins, after the start"`
	Seed     uint64   `toml:"seed" default:"1" doc:"the same seed gives the same readings"`
}

// Machine is what is judged as a whole; its path is the Kafka key.
type Machine struct {
	Detectors Detectors `toml:"detectors" default:"auto" doc:"\"auto\", or a list of limit, ewma, robust_z, cusum, rate, stuck, silence, range"`
	Severity  string    `toml:"severity" enum:"low,medium,high,critical" doc:"severity of what learned detectors find; default medium"`
}

// Channel states facts about one channel's sensor that no statistics can know.
type Channel struct {
	RangeLow    *float64  `toml:"range_low" doc:"the least the sensor can physically read; below it the sensor is at fault, not the machine"`
	RangeHigh   *float64  `toml:"range_high" doc:"the most the sensor can physically read"`
	MaxRate     *float64  `toml:"max_rate" doc:"fastest plausible change, in the channel's unit per second; default: learned"`
	StuckAfter  Duration  `toml:"stuck_after" examples:"10m|6h" min:"0s" max:"365d" doc:"the sensor is at fault when its value has not changed for this long; default: learned; needs a reading that normally moves"`
	SilentAfter Duration  `toml:"silent_after" examples:"30s|10m" min:"0s" max:"365d" doc:"the sensor is at fault when nothing arrived for this long; default: 20 times its usual interval, at least 10s"`
	Detectors   Detectors `toml:"detectors" doc:"as for a machine, for this channel alone"`
}

// Limit is the limits that a person sets.
type Limit struct {
	HighHigh   *float64 `toml:"high_high" doc:"above it: critical"`
	High       *float64 `toml:"high" doc:"above it: high"`
	Low        *float64 `toml:"low" doc:"below it: high"`
	LowLow     *float64 `toml:"low_low" doc:"below it: critical"`
	Hysteresis float64  `toml:"hysteresis" default:"0" min:"0" doc:"how far back inside the value must come before the alarm clears, in the channel's unit"`
	OnDelay    Duration `toml:"on_delay" default:"0s" min:"0s" max:"1d" doc:"how long the value must stay outside before the alarm is raised"`
	OffDelay   Duration `toml:"off_delay" default:"0s" min:"0s" max:"1d" doc:"how long it must stay inside before the alarm is cleared"`
	Severity   string   `toml:"severity" enum:"low,medium,high,critical" doc:"in place of critical and high"`
}

// Detect holds the settings of the learned detectors.
type Detect struct {
	FalseAlarms string `toml:"false_alarms" pattern:"^[0-9]+([.][0-9]+)? per (hour|day|week|month|year)$" examples:"1 per week|2 per year" default:"1 per month" doc:"how many false alarms one channel may raise: \"1 per week\", \"2 per year\""`
	Learn       int    `toml:"learn" default:"300" min:"30" max:"1000000" doc:"readings of a channel before its learned detectors may alarm"`
}

// Detectors is "auto" or a list of names.
type Detectors struct {
	Auto  bool
	Names []string
}

// Duration is written "5ms", "1s", "10m", "12h", "30d".
type Duration time.Duration

// Size is written "64KiB", "256MiB", "1GiB"; in bytes.
type Size int64

// SeverityOr is the severity that a table names, or the given one.
func SeverityOr(name string, or detectors.Severity) detectors.Severity {
	if s, ok := detectors.ParseSeverity(name); ok {
		return s
	}
	return or
}

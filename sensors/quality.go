package sensors

// Quality is an OPC UA StatusCode (OPC 10000-4, 7.39): its two highest bits say
// good, uncertain or bad, the rest the reason. Only good readings train a
// detector, uncertain ones are judged and marked, bad ones are never judged.
type Quality uint32

// The codes that tocsin itself sets; sources may pass on any other.
const (
	Good                     Quality = 0x00000000
	Uncertain                Quality = 0x40000000
	UncertainLastUsableValue Quality = 0x40900000
	UncertainEngineeringUnit Quality = 0x40940000 // EngineeringUnitsExceeded: outside the sensor's range
	Bad                      Quality = 0x80000000
	BadNoCommunication       Quality = 0x80310000
	BadSensorFailure         Quality = 0x808C0000
	BadOutOfService          Quality = 0x808D0000
)

// DeviceTime is set in the Quality of a Sample whose Time is of its device, or
// of the file it was read from, and not of the gateway's clock: nobody here can
// correct it. OPC UA reserves the bit and never sets it.
const DeviceTime Quality = 1 << 12

// IsGood reports whether the two highest bits say good.
func (q Quality) IsGood() bool { return q>>30 == 0 }

// IsBad reports whether the two highest bits say bad.
func (q Quality) IsBad() bool { return q>>31 == 1 }

// String names the code as OPC UA does where tocsin knows it, else its class.
func (q Quality) String() string {
	switch q &^ DeviceTime {
	case UncertainLastUsableValue:
		return "UncertainLastUsableValue"
	case UncertainEngineeringUnit:
		return "UncertainEngineeringUnitsExceeded"
	case BadNoCommunication:
		return "BadNoCommunication"
	case BadSensorFailure:
		return "BadSensorFailure"
	case BadOutOfService:
		return "BadOutOfService"
	}
	switch {
	case q.IsGood():
		return "Good"
	case q.IsBad():
		return "Bad"
	}
	return "Uncertain"
}

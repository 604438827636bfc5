"""Reads a trace from standard input by Perfetto's own descriptors, those of its Python package, and prints what it tells.

A field that they do not know, or that has another type there, ends it with an error; that there is no such package, with the status 77.
"""

import sys

try:
    from google.protobuf.unknown_fields import UnknownFieldSet
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as perfetto
except ImportError as error:
    print(error)
    sys.exit(77)


def check(message):
    assert not len(UnknownFieldSet(message)), "unknown fields in %s" % message
    for field, value in message.ListFields():
        if field.message_type:
            several = [value] if hasattr(value, "ListFields") else value
            for part in several:
                check(part)


trace = perfetto.Trace()
trace.ParseFromString(sys.stdin.buffer.read())
check(trace)
event_types, names, defaults, threads = perfetto.TrackEvent.Type, {}, {}, {}
for packet in trace.packet:
    sequence = packet.trusted_packet_sequence_id
    if packet.sequence_flags & perfetto.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED:
        clocks = {clock.clock_id: clock for clock in packet.clock_snapshot.clocks}
        assert clocks[packet.trace_packet_defaults.timestamp_clock_id].is_incremental
        assert perfetto.BUILTIN_CLOCK_BOOTTIME in clocks
        defaults[sequence] = packet.trace_packet_defaults.track_event_defaults.track_uuid
    if packet.track_descriptor.HasField("thread"):
        threads[packet.track_descriptor.uuid] = packet.track_descriptor.thread.thread_name
    for name in packet.interned_data.event_names:
        names[sequence, name.iid] = name.name
    if packet.HasField("track_event"):
        assert packet.sequence_flags & perfetto.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        assert packet.HasField("timestamp")
        event = packet.track_event
        name = names[sequence, event.name_iid] if event.HasField("name_iid") else ""
        flows = "%d %d" % (len(event.flow_ids), len(event.terminating_flow_ids))
        print(event_types.Name(event.type), flows, threads[defaults[sequence]], name, sep="\t")

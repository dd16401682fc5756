#!/usr/bin/env python3
"""Plays an HLS playlist by GStreamer, as fast as it can be decoded: to its end, or to the COUNTth picture of a size.

Prints one JSON line: decoded pictures by size, bytes of sound, and which elements played. Ends with 1 at an error.
Usage: play_hls.py URL SECONDS_MAX [WIDTHxHEIGHT COUNT]
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402


def main(url, seconds_max, last_size=None, last_count=0):
    Gst.init(None)
    pictures = {}
    counts = {"pictures": pictures, "sound_bytes": 0}
    elements = set()
    pipeline = Gst.Pipeline.new(None)
    source = Gst.ElementFactory.make("uridecodebin3", None)
    source.set_property("uri", url)
    pipeline.add(source)

    def added(_bin, _sub, element):
        factory = element.get_factory()
        if factory:
            elements.add(factory.get_name())

    def count(pad, info, video):
        if not video:
            counts["sound_bytes"] += info.get_buffer().get_size()
            return Gst.PadProbeReturn.OK
        shape = pad.get_current_caps().get_structure(0)
        size = f"{shape.get_value('width')}x{shape.get_value('height')}"
        pictures[size] = pictures.get(size, 0) + 1
        if size == last_size and pictures[size] == last_count:
            pipeline.post_message(Gst.Message.new_application(pipeline, Gst.Structure.new_empty("enough")))
        return Gst.PadProbeReturn.OK

    def new_pad(_source, pad):
        sink = Gst.ElementFactory.make("fakesink", None)
        sink.set_property("sync", False)
        pipeline.add(sink)
        sink.sync_state_with_parent()
        video = pad.get_name().startswith("video")
        pad.add_probe(Gst.PadProbeType.BUFFER, count, video)
        pad.link(sink.get_static_pad("sink"))

    pipeline.connect("deep-element-added", added)
    source.connect("pad-added", new_pad)
    pipeline.set_state(Gst.State.PLAYING)
    wanted = Gst.MessageType.ERROR | Gst.MessageType.EOS | Gst.MessageType.APPLICATION
    message = pipeline.get_bus().timed_pop_filtered(seconds_max * Gst.SECOND, wanted)
    pipeline.set_state(Gst.State.NULL)
    if message is None:
        sys.exit(f"no end within {seconds_max} s: {counts} by {sorted(elements)}")
    if message.type == Gst.MessageType.ERROR:
        error, debug = message.parse_error()
        sys.exit(f"{error.message}: {debug}")
    print(json.dumps({**counts, "elements": sorted(elements)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *(sys.argv[3:4] + [int(count) for count in sys.argv[4:5]]))

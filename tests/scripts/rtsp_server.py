#!/usr/bin/python3
"""Cameras for Keha's tests: GStreamer's RTSP server playing prepared clips, sample for sample, in real time.

A clip is a pair of files that the Rust side prepares (tests/src/media): NAME.bin, all samples back to back, and
NAME.json, the place and time of each. Nothing is encoded or parsed here, so what a client receives is what the clip
holds. Every sample handed to the payloader is logged with the wall time, which makes this log the judge of what a
recorder should have.

Commands are JSON lines on stdin, each answered by one JSON line on stdout; the first line on stdout names the port.
The server ends when stdin closes, so no test leaves one behind.
"""

import argparse
import heapq
import json
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PAYLOADERS = {
    "h264": "rtph264pay config-interval=0",
    "h265": "rtph265pay config-interval=0",
    "aac": "rtpmp4gpay",
    "pcmu": "rtppcmupay min-ptime=20000000 max-ptime=20000000",
    "pcma": "rtppcmapay min-ptime=20000000 max-ptime=20000000",
}
LIVE = (
    "appsrc name=src0 ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=1500 key-int-max=25 threads=1 "
    "! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 config-interval=0"
)
LIVE_WIDTH, LIVE_HEIGHT, LIVE_FPS, CELL_COUNT = 640, 160, 25, 64
LOCK = threading.RLock()


class SendLog:
    """JSON lines: when which sample of which track went to the payloader."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="ascii") if path else None

    def sample(self, mount, session, track, number, running_ns):
        if self.file:
            self.file.write(
                '{"t":%d,"m":"%s","s":%d,"k":%d,"n":%d,"p":%d}\n'
                % (time.time_ns(), mount, session, track, number, running_ns)
            )

    def flush(self):
        if self.file:
            self.file.flush()


class Clip:
    """One prepared clip, held in memory once however many cameras play it."""

    cache = {}

    @classmethod
    def load(cls, path):
        if path not in cls.cache:
            cls.cache[path] = cls(path)
        return cls.cache[path]

    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            index = json.load(file)
        with open(path[: -len(".json")] + ".bin", "rb") as file:
            data = file.read()
        self.tracks = index["tracks"]
        for track in self.tracks:
            track["bytes"] = [
                GLib.Bytes.new(data[s["offset"] : s["offset"] + s["size"]]) for s in track["samples"]
            ]

    def launch(self):
        parts = []
        for i, track in enumerate(self.tracks):
            parts.append(
                "appsrc name=src%d caps=\"%s\" ! %s name=pay%d pt=%d"
                % (i, track["caps"], PAYLOADERS[track["codec"]], i, 96 + i)
            )
        return "( " + "  ".join(parts) + " )"


def running_now(element):
    clock = element.get_clock()
    return clock.get_time() - element.get_base_time() if clock else 0


class Mount:
    """One camera. Its place in the clip goes on from connection to connection, as a real camera's time does."""

    def __init__(self, server, name, spec):
        self.server = server
        self.name = name
        self.spec = spec
        self.live = spec.get("live", False)
        self.clip = None if self.live else Clip.load(spec["clip"])
        self.speed = float(spec.get("speed", 1.0))
        self.once = spec.get("once", False)
        self.next = {}
        self.session = 0
        self.current = None
        self.ended = False

    def publish(self):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch("( " + LIVE + " )" if self.live else self.clip.launch())
        factory.set_shared(True)
        factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP)
        if self.server.user:
            permissions = GstRtspServer.RTSPPermissions.new()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        factory.connect("media-configure", self.configure)
        self.server.mounts.add_factory("/" + self.name, factory)

    def withdraw(self):
        self.server.mounts.remove_factory("/" + self.name)
        self.server.kick(self.name)

    def configure(self, _factory, media):
        with LOCK:
            self.session += 1
            play = Play(self, media, self.session)
            self.current = play
        media.connect("prepared", play.prepared)
        media.connect("unprepared", play.stop)


class Play:
    """One media of a mount, from the first client to the last."""

    def __init__(self, mount, media, session):
        self.mount = mount
        self.session = session
        self.active = True
        self.started = False
        self.media = media
        self.sources = []
        bin_ = media.get_element()
        count = 1 if mount.live else len(mount.clip.tracks)
        for i in range(count):
            source = bin_.get_by_name("src%d" % i)
            source.set_property("is-live", True)
            source.set_property("format", Gst.Format.TIME)
            source.set_property("max-bytes", 64 << 20)
            if mount.live:
                caps = "video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1" % (
                    LIVE_WIDTH,
                    LIVE_HEIGHT,
                    LIVE_FPS,
                )
                source.set_property("caps", Gst.Caps.from_string(caps))
            source.connect("need-data", self.start)
            self.sources.append(source)

    def start(self, source, _length):
        with LOCK:
            if self.started or not self.active:
                return
            self.started = True
            self.base_running = running_now(source)
            self.base = time.monotonic_ns()
            if self.mount.live:
                self.count = 0
                self.mount.server.pacer.add(self.base, self, 0)
                return
            for k in range(len(self.sources)):
                self.position_at_sync(k)
                self.mount.server.pacer.add(self.base, self, k)

    def position_at_sync(self, k):
        """The next sync sample not yet sent: no sample is ever sent twice within one lap of the clip."""
        samples = self.mount.clip.tracks[k]["samples"]
        number = self.mount.next.get(k, 0)
        while not samples[number % len(samples)]["sync"]:
            number += 1
        self.mount.next[k] = number
        if not hasattr(self, "first"):
            self.first = {}
        self.first[k] = number

    def time_of(self, k, number, field):
        track = self.mount.clip.tracks[k]
        lap, index = divmod(number, len(track["samples"]))
        return lap * track["duration_ns"] + track["samples"][index][field]

    def send(self, k):
        """Sends one sample; answers when the next one is due, or None."""
        if not self.active:
            return None
        if self.mount.live:
            return self.send_live()
        number = self.mount.next[k]
        track = self.mount.clip.tracks[k]
        zero = self.time_of(k, self.first[k], "dts_ns")
        speed = self.mount.speed
        if self.mount.once and number >= len(track["samples"]):
            self.sources[k].emit("end-of-stream")
            return None
        buffer = Gst.Buffer.new_wrapped_bytes(track["bytes"][number % len(track["samples"])])
        # A source with reordered frames is one that far behind; the offset keeps every time positive.
        buffer.pts = self.base_running + int((self.time_of(k, number, "pts_ns") - zero) / speed)
        buffer.dts = self.base_running + int((self.time_of(k, number, "dts_ns") - zero) / speed)
        self.mount.server.log.sample(self.mount.name, self.session, k, number, buffer.pts)
        self.sources[k].emit("push-buffer", buffer)
        self.mount.next[k] = number + 1
        return self.base + int((self.time_of(k, number + 1, "dts_ns") - zero) / speed)

    def send_live(self):
        wall_ms = time.time_ns() // 1_000_000
        buffer = Gst.Buffer.new_wrapped_bytes(GLib.Bytes.new(clock_picture(wall_ms)))
        buffer.pts = running_now(self.sources[0])
        buffer.duration = Gst.SECOND // LIVE_FPS
        self.mount.server.log.sample(self.mount.name, self.session, 0, self.count, buffer.pts)
        self.sources[0].emit("push-buffer", buffer)
        self.count += 1
        return self.base + self.count * 1_000_000_000 // LIVE_FPS

    def stop(self, _media):
        with LOCK:
            self.active = False

    def prepared(self, media):
        """Hooks the sender reports once the RTP session exists."""
        mode = self.mount.server.sender_reports
        if mode == "right":
            return
        pipeline = media.get_element().get_parent()
        for element in pipeline.children:
            if element.get_factory().get_name() != "rtpbin":
                continue
            for pad in element.pads:
                if pad.get_name().startswith("send_rtcp_src"):
                    pad.add_probe(Gst.PadProbeType.BUFFER, bend_report, mode)


def bend_report(pad, info, mode):
    """Drops sender reports, or moves their NTP time by so many seconds (RFC 3550 section 6.4.1)."""
    if mode == "absent":
        return Gst.PadProbeReturn.DROP
    buffer = info.get_buffer()
    data = bytearray(buffer.extract_dup(0, buffer.get_size()))
    if len(data) >= 28 and data[1] == 200:
        seconds = (int.from_bytes(data[8:12], "big") + mode) & 0xFFFFFFFF
        data[8:12] = seconds.to_bytes(4, "big")
    pad.get_peer().chain(Gst.Buffer.new_wrapped(bytes(data)))
    return Gst.PadProbeReturn.DROP


def clock_picture(wall_ms):
    """A picture whose top half is a bar code of the wall time (layout: tests/src/barcode.rs)."""
    check = sum((wall_ms >> shift) & 0xFF for shift in range(0, 48, 8)) & 0xFF
    bits = (0b10 << 62) | ((wall_ms & ((1 << 48) - 1)) << 14) | (check << 6)
    width = LIVE_WIDTH // CELL_COUNT
    row = b"".join(
        (b"\xeb" if bits >> (CELL_COUNT - 1 - i) & 1 else b"\x10") * width for i in range(CELL_COUNT)
    )
    half = LIVE_HEIGHT // 2
    shade = bytes([64 + wall_ms // 40 % 96]) * (LIVE_WIDTH * half)
    return row * half + shade + b"\x80" * (LIVE_WIDTH * LIVE_HEIGHT // 2)


class Pacer(threading.Thread):
    """Sends every sample of every camera when it is due."""

    def __init__(self, log):
        super().__init__(daemon=True)
        self.heap = []
        self.order = 0
        self.log = log

    def add(self, due, play, k):
        with LOCK:
            self.order += 1
            heapq.heappush(self.heap, (due, self.order, play, k))

    def run(self):
        while True:
            with LOCK:
                now = time.monotonic_ns()
                while self.heap and self.heap[0][0] <= now:
                    _, _, play, k = heapq.heappop(self.heap)
                    due = play.send(k)
                    if due is not None:
                        self.add(due, play, k)
                self.log.flush()
                wait = (self.heap[0][0] - now) / 1e9 if self.heap else 0.005
            time.sleep(min(max(wait, 0.0005), 0.005))


class Server:
    def __init__(self, options):
        self.user = options.user
        self.sender_reports = (
            options.sender_reports
            if options.sender_reports in ("right", "absent")
            else int(options.sender_reports)
        )
        self.log = SendLog(options.log)
        self.pacer = Pacer(self.log)
        self.cameras = {}
        self.clients = []
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service("0")
        self.mounts = self.server.get_mount_points()
        if options.max_sessions:
            self.server.get_session_pool().set_max_sessions(options.max_sessions)
        if options.user:
            self.server.set_auth(authentication(options))
        self.server.connect("client-connected", self.connected)
        self.server.attach(None)
        GLib.timeout_add_seconds(2, self.clean)
        self.pacer.start()

    def clean(self):
        self.server.get_session_pool().cleanup()
        return True

    def connected(self, _server, client):
        entry = {"client": client, "mounts": set()}
        self.clients.append(entry)

        def note(_client, context):
            if context.uri is not None:
                entry["mounts"].add(context.uri.abspath.strip("/").split("/")[0])

        def closed(_client):
            if entry in self.clients:
                self.clients.remove(entry)

        client.connect("describe-request", note)
        client.connect("closed", closed)

    def kick(self, mount):
        kicked = [entry for entry in self.clients if mount in entry["mounts"]]
        for entry in kicked:
            entry["client"].close()
        return len(kicked)

    def command(self, request):
        what, name = request["cmd"], request.get("mount")
        if what == "add":
            self.cameras[name] = Mount(self, name, request)
            self.cameras[name].publish()
        elif what == "stop":
            self.cameras[name].withdraw()
        elif what == "start":
            self.cameras[name].publish()
        elif what == "switch":
            self.cameras[name].withdraw()
            spec = dict(self.cameras[name].spec)
            spec["clip"] = request["clip"]
            session = self.cameras[name].session
            self.cameras[name] = Mount(self, name, spec)
            self.cameras[name].session = session
            self.cameras[name].publish()
        elif what == "kick":
            return {"ok": True, "kicked": self.kick(name)}
        elif what == "clients":
            return {"ok": True, "clients": sum(1 for e in self.clients if name in e["mounts"])}
        else:
            return {"ok": False, "error": "unknown command " + what}
        return {"ok": True}


def authentication(options):
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if options.auth == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(options.user, options.password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token)
    return auth


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--auth", choices=["basic", "digest"], default="digest")
    parser.add_argument("--max-sessions", type=int, default=0)
    parser.add_argument("--sender-reports", default="right", help="right, absent, or seconds to be wrong by")
    parser.add_argument("--log", help="send log, JSON lines")
    options = parser.parse_args()
    Gst.init(None)
    server = Server(options)
    loop = GLib.MainLoop()

    def answer(line):
        try:
            reply = server.command(json.loads(line))
        except Exception as error:  # the test must see it, whatever it is
            reply = {"ok": False, "error": repr(error)}
        print(json.dumps(reply), flush=True)
        return False

    def read():
        for line in sys.stdin:
            GLib.idle_add(answer, line)
        GLib.idle_add(loop.quit)

    threading.Thread(target=read, daemon=True).start()
    print(json.dumps({"port": server.server.get_bound_port()}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Shuts an ext4 down without flushing its log, as a power cut does: EXT4_IOC_SHUTDOWN, flag NOLOGFLUSH.

Only the mount point given is touched; it must not be the root filesystem.
"""

import fcntl
import os
import struct
import sys

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2

path = sys.argv[1]
if os.stat(path).st_dev == os.stat("/").st_dev or not os.path.ismount(path):
    sys.exit(f"{path} is not a filesystem of its own")
descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))

#!/usr/bin/env python3
"""A second reader of pgstrata's repositories, written from store/README.md alone.

It shares nothing with the first one: no code, no library but the zstd program. What it accepts is what the document
says, so a difference between the document and the code shows here. Everything in the repository is read and checked,
also what no snapshot reaches; then snapshots are copied out to TARGET/<cluster>/<kind>/<id>.

It checks everything it can and says what was wrong first; it is no tool for rescuing data from a broken repository.
"""

import argparse
import bisect
import collections
import concurrent.futures
import datetime
import hashlib
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

CHUNK, MAP, TREE = 1, 2, 3
KINDS = {CHUNK: "chunk", MAP: "map", TREE: "tree"}
FILE, DIRECTORY, SYMLINK = 1, 2, 3
SNAPSHOT_KINDS = {1: "base", 2: "dump", 3: "globals"}
ZEROES = bytes(32)
MIB = 1 << 20


class Bad(Exception):
    """The repository is not what the document says."""


def check(true, *what):
    if not true:
        raise Bad(" ".join(str(w) for w in what))


# ---- CRC-32C ---------------------------------------------------------------------------------------------------

POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected: bit 31 - i is the coefficient of x^i, x^32 left out


def _crc_table():
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = _crc_table()


def _fold_bits():
    """For each k, the bits of x^(32 * (2^k + 1)) modulo the polynomial, reflected."""
    folds = []
    power, bits = 1 << 31, 0  # x^0
    for k in range(32):
        while bits < 32 * ((1 << k) + 1):
            if bits >= 64 and bits * 2 - 32 == 32 * ((1 << k) + 1):
                # x^(2 * bits - 32): the square, then divided by x^32, that is 32 steps back.
                square, factor = 0, power
                for i in range(31, -1, -1):
                    square ^= factor if power >> i & 1 else 0
                    factor = factor >> 1 ^ (POLYNOMIAL if factor & 1 else 0)
                for _ in range(32):
                    square = (square ^ POLYNOMIAL) << 1 | 1 if square >> 31 else square << 1
                power, bits = square, bits * 2 - 32
            else:
                power = power >> 1 ^ (POLYNOMIAL if power & 1 else 0)
                bits += 1
        folds.append([i for i in range(32) if power >> i & 1])
    return folds


FOLD_BITS = _fold_bits()


def crc32c(data):
    """The table alone makes 8 MB/s. So a long message is first halved again and again, as one big number: its first
    half, times x^(bits of the rest) modulo the polynomial, goes onto the end of the rest, and the CRC stays the same.
    The lengths on the way are 32 * (2^k + 1) bits; zero bits in front of the message do no harm."""
    crc = 0xFFFFFFFF
    if len(data) >= 64:
        number = int.from_bytes(data, "little") ^ crc
        k = 0
        while 32 * ((1 << k) + 1) < 8 * len(data):
            k += 1
        number <<= 32 * ((1 << k) + 1) - 8 * len(data)
        while k > 0:
            half = 32 << k - 1
            first = number & (1 << half) - 1
            product = 0
            for i in FOLD_BITS[k - 1]:
                product ^= first << i
            number = number >> half ^ product << 1
            k -= 1
        data, crc = number.to_bytes(8, "little"), 0
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# ---- reading fields --------------------------------------------------------------------------------------------


class Fields:
    """The fields of one object, first to last."""

    def __init__(self, data, what):
        self.data, self.what, self.at = data, what, 0

    def take(self, size):
        check(size <= len(self.data) - self.at, self.what, "ends early")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def u8(self):
        return self.number(1)

    def u32(self):
        return self.number(4)

    def u64(self):
        return self.number(8)

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.u8()
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                check(value < 1 << 64, self.what, "has a varint beyond 64 bits")
                return value
        raise Bad(f"{self.what} has a varint of more than ten bytes")

    def svarint(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def str(self):
        return self.take(self.varint())

    def name(self):
        name = self.str()
        check(self.u8() == 0, self.what, "has a name without its NUL")
        check(0 not in name, self.what, "has a name with NUL in it")
        return name

    def digest(self):
        return self.take(32)

    def end(self):
        check(self.at == len(self.data), self.what, "has", len(self.data) - self.at, "bytes too many")


def follow(plan, base, what):
    """What a plan makes out of its base."""
    fields = Fields(plan, what)
    steps = fields.varint()
    inserts = [fields.varint() for _ in range(steps)]
    skips = [fields.svarint() for _ in range(steps)]
    copies = [fields.varint() for _ in range(steps)]
    made, place = [], 0
    for insert, skip, copy in zip(inserts, skips, copies):
        made.append(fields.take(insert))
        place += skip
        check(0 <= place and place + copy <= len(base), what, "copies beyond its base")
        made.append(base[place : place + copy])
        place += copy
    made.append(fields.take(len(plan) - fields.at))
    return b"".join(made)


def read_object(path, limit=1 << 32):
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    check(len(data) <= limit, path, "is too large")
    return data


def read_lines(path):
    """Key and value of each line of a text object, whose CRC is right."""
    data = read_object(path, MIB)
    start = data.rfind(b"\ncrc32c ") + 1
    check(start > 0, path, "has no CRC")
    check(data[start:] == b"crc32c %08x\n" % crc32c(data[:start]), path, "has a wrong CRC")
    pairs = []
    for line in data[:start].decode().split("\n")[:-1]:
        key, space, value = line.partition(" ")
        check(space, path, "has a line without a value")
        pairs.append((key, value))
    return pairs


# ---- the repository --------------------------------------------------------------------------------------------

Place = collections.namedtuple("Place", "digest pack offset length kind depth")
Record = collections.namedtuple("Record", "what place codec crc size base start packed")


class Repository:
    def __init__(self, path, scratch):
        self.path, self.scratch = path, scratch
        self.tally = collections.Counter()
        self.packs = {}  # name: its places, in order
        self.index = collections.defaultdict(list)  # digest: all its places
        self.unpacked = {}  # digest: offset, length in self.store
        self.store = tempfile.TemporaryFile(dir=scratch)
        self.store_end = 0
        self.read_config()
        self.clusters = self.read_clusters()
        for name in objects(os.path.join(path, "packs")):
            check(re.fullmatch("[0-9a-f]{64}", name), "packs/", name, "is no name of a pack")
            self.read_footer(name)
        self.unpack_all()

    def count(self, what, much=1):
        self.tally[what] += much

    def read_config(self):
        pairs = read_lines(os.path.join(self.path, "config"))
        keys = [key for key, _ in pairs]
        check(keys == ["pgstrata-repository", "id", "chunk-size", "delta-chain", "level"], "config has keys", keys)
        config = dict(pairs)
        check(config["pgstrata-repository"] == "1", "config is of version", config["pgstrata-repository"])
        check(re.fullmatch("[0-9a-f]{32}", config["id"]), "config has a bad id")
        self.id = bytes.fromhex(config["id"])
        self.chunk_size = int(config["chunk-size"])
        self.delta_chain = int(config["delta-chain"])
        size = self.chunk_size
        check(8192 <= size <= MIB and size & size - 1 == 0, "config has chunk size", size)

    def read_clusters(self):
        clusters = {}
        for name in objects(os.path.join(self.path, "clusters")):
            pairs = read_lines(os.path.join(self.path, "clusters", name))
            check([key for key, _ in pairs] == ["pgstrata-cluster", "identity"], "clusters/", name, "has other keys")
            check(pairs[0][1] == "1", "clusters/", name, "is of version", pairs[0][1])
            clusters[name] = pairs[1][1]
        return clusters

    # -- packs --

    def read_footer(self, name):
        what = f"packs/{name}"
        with open(os.path.join(self.path, what), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            check(32 + 16 + 24 <= size < 1 << 32, what, "has", size, "bytes")
            file.seek(0)
            head = Fields(file.read(32), what)
            check(head.take(8) == b"pgstPACK", what, "is no pack")
            check((head.u32(), head.u32()) == (1, 0), what, "is of another version")
            check(head.take(16) == self.id, what, "is another repository's")
            file.seek(size - 24)
            trailer = file.read(24)
            check(crc32c(trailer[:20]) == struct.unpack("<I", trailer[20:])[0], what, "has a wrong CRC at its end")
            start, length, crc, magic = struct.unpack("<QIII", trailer[:20])
            check(magic == 0x444E4550, what, "has a wrong end")
            check(start + length + 24 == size, what, "has its footer at a wrong place")
            file.seek(start)
            footer = file.read(length)
        check(crc32c(footer) == crc, what, "has a footer with a wrong CRC")
        check(hashlib.sha256(footer).hexdigest() == name, what, "is not named by its footer")
        check(length >= 16 and (length - 16) % 38 == 0, what, "has a footer of", length, "bytes")
        offset, places = 32, []
        for digest, length, kind, depth in struct.iter_unpack("<32sIBB", footer[16:]):
            places.append(Place(digest, name, offset, length, kind, depth))
            offset += length
        check(offset == start, what, "has a gap before its footer")
        check(len({place.kind == CHUNK for place in places}) <= 1, what, "mixes chunks and nodes")
        self.packs[name] = places
        for place in places:
            self.index[place.digest].append(place)
        self.count("packs")

    # -- records --

    def read_record(self, pack, place):
        """Everything about a record but what it unpacks to."""
        what = f"the record at {place.offset} of packs/{place.pack}"
        fields = Fields(os.pread(pack.fileno(), place.length, place.offset), what)
        check(fields.u32() == crc32c(fields.data[4:]), what, "has a wrong CRC")
        crc, packed, unpacked = fields.u32(), fields.u32(), fields.u32()
        kind, codec, seal, depth = fields.u8(), fields.u8(), fields.u8(), fields.u8()
        check(unpacked <= 16 * MIB, what, "is too large")
        check(kind in KINDS and kind == place.kind, what, "is of kind", kind, "and its footer says", place.kind)
        check(codec <= 4 and seal == 0, what, "has codec", codec, "and seal", seal)
        check(depth == place.depth, what, "has depth", depth, "and its footer says", place.depth)
        check((depth > 0) == (codec >= 2), what, "has codec", codec, "at depth", depth)
        check(depth <= 4 * self.delta_chain, what, "has depth", depth)
        check(fields.take(8) == place.digest[:8], what, "has another name than its footer says")
        base = fields.digest() if depth else None
        start = place.offset + fields.at
        payload = fields.take(packed)
        fields.end()
        check(base is None or base in self.index, what, "has a base that is in no pack")
        if codec == 0:
            check(packed == unpacked, what, "is not compressed and has two lengths")
        else:
            frame = payload[4:] if codec == 4 else payload
            check(frame[:4] == b"\x28\xb5\x2f\xfd", what, "is no zstd frame")
            check(frame[4] == 0, what, "has a zstd frame with a checksum, its content's size or a dictionary")
        self.count(f"record {KINDS[kind]} codec {codec}")
        self.count(f"record depth {depth}")
        self.count("packed bytes", place.length)
        self.count("unpacked bytes", unpacked)
        return Record(what, place, codec, crc, unpacked, base, start, packed)

    def unpack_all(self):
        """Unpacks and checks every copy of every digest, in rounds: a round takes what has its base already."""
        left = []
        for name, places in self.packs.items():
            with open(os.path.join(self.path, "packs", name), "rb") as pack:
                left += [self.read_record(pack, place) for place in places]
        while left:
            ready = [record for record in left if record.base is None or record.base in self.unpacked]
            check(ready, len(left), "records lean on each other in a circle")
            left = [record for record in left if not (record.base is None or record.base in self.unpacked)]
            while ready:
                size = count = 0
                while count < len(ready) and size < 32 * MIB:
                    size += ready[count].size
                    count += 1
                self.unpack(ready[:count])
                del ready[:count]

    def unpack(self, batch):
        payloads = []
        for name, records in itertools.groupby(batch, lambda record: record.place.pack):
            with open(os.path.join(self.path, "packs", name), "rb") as pack:
                payloads += [os.pread(pack.fileno(), record.packed, record.start) for record in records]
        # Frames that lean on nothing go through one zstd, which takes what follows a frame for the next frame.
        frames = {}
        for number, (record, payload) in enumerate(zip(batch, payloads)):
            if record.codec in (1, 3):
                frames[number] = record.size, payload
            elif record.codec == 4:
                frames[number] = int.from_bytes(payload[:4], "little"), payload[4:]
        data, at = zstd(b"".join(frame for _, frame in frames.values())) if frames else b"", 0
        check(len(data) == sum(size for size, _ in frames.values()), "frames unpack to other lengths than said")
        # A prefix is one frame's own, so these cost a process each.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            patches = {
                number: pool.submit(self.unpack_patch, record, payload)
                for number, (record, payload) in enumerate(zip(batch, payloads))
                if record.codec == 2
            }
        for number, (record, payload) in enumerate(zip(batch, payloads)):
            if record.codec == 0:
                unpacked = payload
            elif record.codec == 2:
                unpacked = patches[number].result()
            else:
                unpacked = data[at : at + frames[number][0]]
                at += frames[number][0]
                if record.codec == 3:
                    unpacked = xor(unpacked, self.bytes_of(record.base))
                elif record.codec == 4:
                    unpacked = follow(unpacked, self.bytes_of(record.base), record.what)
            self.keep(record, unpacked)

    def unpack_patch(self, record, payload):
        with tempfile.NamedTemporaryFile(dir=self.scratch) as base:
            base.write(self.bytes_of(record.base))
            base.flush()
            return zstd(payload, f"--patch-from={base.name}")

    def keep(self, record, unpacked):
        digest = record.place.digest
        check(len(unpacked) == record.size, record.what, "unpacks to", len(unpacked), "bytes")
        check(crc32c(unpacked) == record.crc, record.what, "unpacks to bytes with a wrong CRC")
        check(hashlib.sha256(unpacked).digest() == digest, record.what, "is not what its name says")
        if digest not in self.unpacked:
            self.unpacked[digest] = self.store_end, record.size
            os.pwrite(self.store.fileno(), unpacked, self.store_end)
            self.store_end += record.size

    def bytes_of(self, digest, kind=None):
        """The bytes with this digest. As which kind they are stored does not matter and is only counted."""
        check(digest in self.unpacked, digest.hex(), "is in no pack")
        if kind and all(place.kind != kind for place in self.index[digest]):
            self.count(f"{KINDS[kind]} stored as another kind")
        offset, size = self.unpacked[digest]
        return os.pread(self.store.fileno(), size, offset)

    # -- trees --

    def directory(self, digest, entries, descendants):
        """The entries of a directory, in order; both counts are checked."""
        check((entries == 0) == (digest == ZEROES), "a directory of", entries, "entries has digest", digest.hex())
        if entries == 0:
            check(descendants == 0, "an empty directory has descendants")
            return []
        found = self.tree(digest, None)
        names = [entry["name"] for entry in found]
        check(all(a < b for a, b in zip(names, names[1:])), "names of directory", digest.hex(), "do not rise")
        check(counts(found) == (entries, descendants), "directory", digest.hex(), "has other counts than it says")
        return found

    def tree(self, digest, level):
        what = f"tree node {digest.hex()}"
        data = self.bytes_of(digest, TREE)
        check(len(data) <= MIB, what, "is too large")
        fields = Fields(data, what)
        own = fields.u8()
        check(own < 12 and level in (None, own), what, "has level", own, "instead of", level)
        self.count(f"tree node level {own}")
        found = []
        if own == 0:
            owners = [(fields.varint(), fields.varint(), fields.name(), fields.name()) for _ in range(fields.varint())]
            for _ in range(fields.varint()):
                found.append(self.entry(fields, owners))
        else:
            for _ in range(fields.varint()):
                first, child = fields.name(), fields.digest()
                said = fields.varint(), fields.varint()
                below = self.tree(child, own - 1)
                check(below[0]["name"] == first, what, "has a child that begins with another name")
                check(counts(below) == said, what, "has a child with other counts than it says")
                found += below
        fields.end()
        check(found, what, "is empty")
        return found

    def entry(self, fields, owners):
        name, kind = fields.name(), fields.u8()
        check(1 <= len(name) <= 255 and b"/" not in name and name not in (b".", b".."), "a bad name:", name)
        entry = {"name": name, "type": kind, "mode": fields.varint()}
        check(entry["mode"] <= 0o7777, name, "has mode", oct(entry["mode"]))
        owner = fields.varint()
        check(owner < len(owners), name, "has an owner that is not in its node")
        entry["owner"] = owners[owner]
        seconds, nanoseconds = fields.svarint(), fields.varint()
        check(nanoseconds < 10**9, name, "has", nanoseconds, "nanoseconds")
        entry["mtime"] = seconds * 10**9 + nanoseconds
        if kind == FILE:
            entry["size"], form = fields.varint(), fields.u8()
            check(form <= 2, name, "has form", form)
            self.count(f"file form {form}")
            if form == 0:
                check(entry["size"] <= 1024, name, "has", entry["size"], "bytes in its tree node")
                entry["bytes"] = fields.take(entry["size"])
            elif form == 2:
                check(entry["size"] > 0, name, "is an empty rope")
                entry["stored"] = fields.varint()
                entry["height"], entry["rope"] = fields.u8(), fields.digest()
                check(entry["height"] <= 8, name, "has height", entry["height"])
            else:
                entry["stored"] = fields.varint()
                bits = fields.u8()
                check(12 <= bits <= 24, name, "has chunks of", bits, "bits")
                entry["chunk"] = 1 << bits
                entry["height"], entry["map"] = fields.u8(), fields.digest()
                self.count(f"file height {entry['height']}")
                self.count(f"file chunk size {entry['chunk']}")
        elif kind == DIRECTORY:
            self.count("directory")
            entry["entries"], entry["descendants"], entry["node"] = fields.varint(), fields.varint(), fields.digest()
        elif kind == SYMLINK:
            self.count("symlink")
            entry["target"] = fields.name()
        else:
            raise Bad(f"{name} has type {kind}")
        return entry

    # -- file maps --

    def chunks(self, entry):
        """(first chunk's number, digest) of all that is not zero."""
        chunks = -(-entry["size"] // entry["chunk"])
        height = 0
        while 256**height < chunks:
            height += 1
        check(chunks > 0 and entry["height"] == height, entry["name"], "has a map of height", entry["height"])
        return self.map(entry["map"], height, 0, chunks)

    def map(self, digest, level, first, chunks):
        if digest == ZEROES:
            self.count(f"zero digest level {level}")
        elif level == 0:
            yield first, digest
        else:
            self.count(f"map node level {level}")
            span = 256 ** (level - 1)
            data = self.bytes_of(digest, MAP)
            check(len(data) == -(-chunks // span) * 32, "map node", digest.hex(), "has", len(data), "bytes")
            for i in range(0, len(data) // 32):
                here = min(span, chunks - i * span)
                yield from self.map(data[32 * i : 32 * i + 32], level - 1, first + i * span, here)

    # -- ropes --

    def rope(self, digest, level, size):
        """(length, bytes or None for zeroes) of all pieces, in order."""
        if digest == ZEROES:
            yield size, None
        elif level < 0:
            data = self.bytes_of(digest, CHUNK)
            check(len(data) == size, "chunk", digest.hex(), "has", len(data), "bytes instead of", size)
            yield size, data
        else:
            self.count(f"rope node level {level}")
            what = f"rope node {digest.hex()}"
            fields = Fields(self.bytes_of(digest, MAP), what)
            check(fields.u8() == level, what, "has another level than", level)
            items = fields.varint()
            check(1 <= items <= 1024, what, "has", items, "items")
            found = 0
            for _ in range(items):
                number = fields.varint()
                length = number >> 1
                check(length > 0, what, "has an empty item")
                if number & 1:
                    check(length <= 1024, what, "has a literal of", length, "bytes")
                    self.count("rope literal")
                    yield length, fields.take(length)
                else:
                    yield from self.rope(fields.digest(), level - 1, length)
                found += length
            fields.end()
            check(found == size, what, "has", found, "bytes instead of", size)

    # -- snapshots --

    def snapshots(self):
        top = os.path.join(self.path, "snapshots")
        for folder, _, names in sorted(os.walk(top)):
            for name in finished(names):
                yield os.path.relpath(os.path.join(folder, name), top)

    def snapshot(self, path):
        what = f"snapshots/{path}"
        data = read_object(os.path.join(self.path, what), 4 * MIB)
        check(len(data) > 4 and crc32c(data[:-4]) == struct.unpack("<I", data[-4:])[0], what, "has a wrong CRC")
        fields = Fields(data[:-4], what)
        check(fields.take(8) == b"pgstSNAP" and fields.u32() == 1, what, "is no snapshot of version 1")
        snapshot = {"cluster": fields.str().decode(), "kind": SNAPSHOT_KINDS.get(fields.u8())}
        snapshot["id"], snapshot["parent"] = fields.str().decode(), fields.str().decode()
        check("/".join(snapshot[key] for key in ("cluster", "kind", "id")) == path, what, "says it is another one")
        check(snapshot["kind"] != "base" or snapshot["cluster"] in self.clusters, what, "is of an unknown cluster")
        for key in ("start", "stop", "created"):
            snapshot[key] = fields.svarint(), fields.varint()
        stop = datetime.datetime.fromtimestamp(snapshot["stop"][0], datetime.timezone.utc)
        wanted = stop.strftime("%Y-%m-%dT%H-%M-%SZ")
        check(re.fullmatch(wanted + "(-([2-9]|[1-9][0-9]+))?", snapshot["id"]), what, "ends at", wanted)
        snapshot["root"] = fields.digest()
        for key in ("entries", "descendants", "files", "directories", "symlinks", "logical", "unique", "stored"):
            snapshot[key] = fields.varint()
        snapshot["properties"] = {}
        for _ in range(fields.varint()):
            key, kind = fields.str().decode(), fields.u8()
            check(kind in (1, 2, 3), what, "has a property of type", kind)
            value = fields.str().decode() if kind == 1 else fields.varint()
            check(kind != 3 or value in (0, 1), what, "has a bool", value)
            snapshot["properties"][key] = bool(value) if kind == 3 else value
        fields.end()
        return snapshot

    # -- index runs --

    def check_runs(self, folder):
        """Every run of this repository below the folder holds what the footers of its packs say."""
        seen = collections.Counter()
        for where, _, names in os.walk(folder):
            for name in names:
                if re.fullmatch("run-[0-9a-f]{16}", name):
                    self.check_run(os.path.join(where, name), seen)
        check(seen, folder, "holds no run of this repository")
        # Both are allowed: the runs are a cache.
        self.count("packs in no run", len(set(self.packs) - set(seen)))
        self.count("packs in several runs", sum(1 for much in seen.values() if much > 1))

    def check_run(self, path, seen):
        data = read_object(path)
        head = Fields(data, path)
        check(head.take(8) == b"pgstRUN1", path, "is no run")
        if head.take(16) != self.id:
            return
        entries, packs, bits, crc = head.u64(), head.u32(), head.u32(), head.u32()
        check(not any(head.take(60 - head.at)), path, "has a head with bytes that should be zero")
        head_crc = head.u32()
        names = [head.digest().hex() for _ in range(packs)]
        places = [head.u32() for _ in range((1 << bits) + 1)]
        start = head.at
        check(crc32c(data[:60] + bytes(4) + data[64:start]) == head_crc, path, "has a wrong CRC before its entries")
        check(crc32c(data[start:]) == crc, path, "has a wrong CRC of its entries")
        check(len(data) - start == 48 * entries, path, "has", len(data) - start, "bytes of entries")
        found, digests = set(), []
        for digest, pack, offset, length, kind, depth, zero in struct.iter_unpack("<32sIIIBBH", data[start:]):
            check(pack < packs and zero == 0, path, "has a bad entry")
            found.add(Place(digest, names[pack], offset, length, kind, depth))
            digests.append(digest)
        check(digests == sorted(digests), path, "is not sorted")
        check(len(found) == entries, path, "has an entry twice")
        check(set(names) <= set(self.packs), path, "names packs that are not there")
        wanted = {place for name in names for place in self.packs[name]}
        check(found == wanted, path, "is not what its packs' footers say")
        tops = [int.from_bytes(digest, "big") >> 256 - bits for digest in digests]
        for number, place in enumerate(places):
            check(place == bisect.bisect_left(tops, number), path, "has a wrong place", number)
        seen.update(names)
        self.count("runs")
        self.count("run entries", entries)


def finished(names):
    return sorted(name for name in names if not name.startswith(".new-"))


def objects(folder):
    """The names in it, in order; a folder is made with its first object."""
    return finished(os.listdir(folder)) if os.path.isdir(folder) else []


def counts(entries):
    return len(entries), len(entries) + sum(entry.get("descendants", 0) for entry in entries)


def zstd(data, *options):
    done = subprocess.run(["zstd", "-dcq", *options], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(done.returncode == 0, "zstd:", done.stderr.decode(errors="replace").strip())
    return done.stdout


def xor(data, base):
    size = min(len(data), len(base))
    both = int.from_bytes(data[:size], "little") ^ int.from_bytes(base[:size], "little")
    return both.to_bytes(size, "little") + data[size:]


# ---- copying out -----------------------------------------------------------------------------------------------


class Copy:
    """Copies a tree out to a folder, or only reads it, and counts what a snapshot counts."""

    def __init__(self, repository, folder):
        self.repository, self.found = repository, collections.Counter()
        self.root = os.fsencode(folder) if folder else None

    def directory(self, path, digest, entries, descendants):
        for entry in self.repository.directory(digest, entries, descendants):
            below = os.path.join(path, entry["name"]) if path else None
            if entry["type"] == DIRECTORY:
                self.found["directories"] += 1
                if below:
                    os.mkdir(below)
                self.directory(below, entry["node"], entry["entries"], entry["descendants"])
            elif entry["type"] == SYMLINK:
                self.found["symlinks"] += 1
                if below:
                    os.symlink(entry["target"], below)
            else:
                self.found["files"] += 1
                self.found["logical"] += entry["size"]
                self.file(below, entry)
            if below:
                self.attributes(below, entry)

    def file(self, path, entry):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600) if path else None
        if "bytes" in entry:
            if path:
                os.write(fd, entry["bytes"])
        elif "rope" in entry:
            offset = 0
            for length, data in self.repository.rope(entry["rope"], entry["height"], entry["size"]):
                if path and data is not None:
                    os.pwrite(fd, data, offset)
                offset += length
        else:
            for number, digest in self.repository.chunks(entry):
                offset = number * entry["chunk"]
                data = self.repository.bytes_of(digest, CHUNK)
                size = min(entry["chunk"], entry["size"] - offset)
                check(len(data) == size, entry["name"], "has a chunk of", len(data), "bytes instead of", size)
                if path:
                    os.pwrite(fd, data, offset)
        if path:
            os.truncate(fd, entry["size"])
            os.close(fd)

    def attributes(self, path, entry):
        if os.geteuid() == 0:
            os.chown(path, *entry["owner"][:2], follow_symlinks=False)
        if entry["type"] != SYMLINK:
            os.chmod(path, entry["mode"])
        os.utime(path, ns=(entry["mtime"], entry["mtime"]), follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description="Checks all of a pgstrata repository and copies snapshots out of it.")
    parser.add_argument("repository")
    parser.add_argument("target", nargs="?", help="a folder to copy to; without it everything is only checked")
    parser.add_argument("--snapshot", metavar="CLUSTER/KIND/ID", help="only this one")
    parser.add_argument("--check-runs", metavar="DIR", help="check the index runs below this folder, too")
    arguments = parser.parse_args()
    check(crc32c(b"123456789") == 0xE3069283, "the CRC's own check")
    beside = os.path.dirname(os.path.abspath(arguments.target)) if arguments.target else None
    with tempfile.TemporaryDirectory(dir=beside) as scratch:
        repository = Repository(arguments.repository, scratch)
        paths = list(repository.snapshots())
        if arguments.snapshot:
            check(arguments.snapshot in paths, arguments.snapshot, "is not there")
            paths = [arguments.snapshot]
        for path in paths:
            snapshot = repository.snapshot(path)
            folder = os.path.join(arguments.target, path) if arguments.target else None
            if folder:
                os.makedirs(folder)
            copy = Copy(repository, folder)
            copy.directory(copy.root, snapshot["root"], snapshot["entries"], snapshot["descendants"])
            for key in ("files", "directories", "symlinks", "logical"):
                check(copy.found[key] == snapshot[key], path, "says", snapshot[key], key, "and has", copy.found[key])
            repository.count("snapshots")
        if arguments.check_runs:
            repository.check_runs(arguments.check_runs)
    json.dump(dict(sorted(repository.tally.items())), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    try:
        main()
    except (Bad, OSError) as error:
        sys.exit(f"second_reader: {error}")

"""Decoder configurations that say less than x264's."""


class _Bits:
    """Reads the fields of ITU-T H.264, 7.3.2.1.1, and keeps what was read."""

    def __init__(self, content):
        self.bits = "".join(f"{byte:08b}" for byte in content)
        self.place = 0

    def number(self, size):
        """A number of so many bits."""
        self.place += size
        return int(self.bits[self.place - size : self.place], 2)

    def code(self):
        """An Exp-Golomb code, 9.1."""
        zeros = self.bits.index("1", self.place) - self.place
        self.place += zeros
        return self.number(zeros + 1) - 1


def without_vui(extradata):
    """The same avcC, of one progressive 4:2:0 sequence, whose parameters end before the VUI.

    With the VUI goes `max_num_reorder_frames`: how many frames come out of order. The length stays,
    padded with zeros, which may follow any NAL unit.
    """
    size = int.from_bytes(extradata[6:8])
    unit = extradata[8 : 8 + size]
    fields = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
    profile = fields.number(8)
    fields.number(16)
    fields.code()
    if profile >= 100:
        assert fields.code() == 1, "not 4:2:0"
        fields.code(), fields.code(), fields.number(1)
        assert fields.number(1) == 0, "scaling matrices"
    fields.code()
    if (picture_order := fields.code()) == 0:
        fields.code()
    assert picture_order in (0, 2), "needs more fields"
    fields.code(), fields.number(1), fields.code(), fields.code()
    assert fields.number(1) == 1, "interlaced"
    fields.number(1)
    if fields.number(1):
        for _ in range(4):
            fields.code()
    assert fields.number(1) == 1, "there is no VUI"
    kept = fields.bits[: fields.place - 1] + "0" + "1"
    kept += "0" * (-len(kept) % 8)
    content = int(kept, 2).to_bytes(len(kept) // 8)
    assert b"\0\0" not in content, "needs emulation prevention"
    return extradata[:8] + (unit[:1] + content).ljust(size, b"\0") + extradata[8 + size :]

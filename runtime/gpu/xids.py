"""What an Xid means for a run, in a sentence: the driver's number for an error of a GPU (docs.nvidia.com/deploy/xid-errors).

Six of them a program causes; NVIDIA's own device plugin doesn't hold them against the GPU. The others are about the hardware
or its driver: the GPU may not be what the next run should get.
"""

from __future__ import annotations

from dataclasses import dataclass

XID_EVENT = 0x8
"""nvmlEventTypeXidCriticalError: the one kind of event whose data is an Xid."""


@dataclass(frozen=True, slots=True)
class XidMeaning:
    """*spoils*: a program that was using the GPU can't go on, so that its failure isn't its own."""

    words: str
    by_program: bool = False
    spoils: bool = False
    lost: bool = False
    """The GPU is gone until somebody resets it: there is nothing to wait for."""


_BY_PROGRAM = {
    13: "a kernel of the program did something illegal (an array bound, an instruction)",
    31: "a kernel of the program read or wrote memory that isn't its own (a page fault on the GPU)",
    43: "the GPU stopped processing for the program, after an error of the program's",
    45: "the program's work on the GPU was cut off, as when it is killed or after another Xid",
    68: "the video decoder met an error, most likely in what the program gave it",
    109: "a kernel of the program ran into the time limit for a change of context",
}
_BY_HARDWARE = {
    48: XidMeaning("memory of the GPU has an error that can't be corrected (double-bit ECC)", spoils=True),
    61: XidMeaning("the GPU's microcontroller stopped", spoils=True),
    62: XidMeaning("the GPU's microcontroller halted", spoils=True),
    63: XidMeaning("a page or row of the GPU's memory is taken out of use; that takes effect with the next reset"),
    64: XidMeaning("a bad page or row of the GPU's memory could not be taken out of use", spoils=True),
    74: XidMeaning("NVLink met an error: a link, or the GPU at its other end"),
    79: XidMeaning("the GPU has fallen off the bus", spoils=True, lost=True),
    92: XidMeaning("memory of the GPU has many errors that are corrected"),
    94: XidMeaning("an error of the GPU's memory was contained: it ends the programs it concerns", spoils=True),
    95: XidMeaning("an error of the GPU's memory could not be contained: everything on the GPU ends", spoils=True),
    110: XidMeaning("the GPU's security engine met an error", spoils=True),
    119: XidMeaning("the GPU's system processor (GSP) does not answer the driver", spoils=True),
    120: XidMeaning("the GPU's system processor (GSP) met an error", spoils=True),
    140: XidMeaning("memory of the GPU has an error that can't be corrected", spoils=True),
}


def meaning(xid: int) -> XidMeaning:
    """What Xid *xid* says. One that isn't in the list is taken for the hardware's, which is the careful guess."""
    if xid in _BY_PROGRAM:
        return XidMeaning(_BY_PROGRAM[xid], by_program=True)
    return _BY_HARDWARE.get(xid) or XidMeaning("see NVIDIA's list of Xid errors")


def sentence(xid: int, gpu: str) -> str:
    """For the journal: `GPU 0 (GPU-91c2…) reports Xid 79: …`."""
    known = meaning(xid)
    advice = (
        "an error of the program's, not of the GPU"
        if known.by_program
        else "reset or reboot before it is used again (`launch gpus` shows its health)"
        if known.spoils
        else "keep an eye on it (`launch gpus` shows its health)"
    )
    return f"{gpu} reports Xid {xid}: {known.words}; {advice}"

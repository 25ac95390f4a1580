"""Lines of several nodes on one terminal."""

from __future__ import annotations

from launcher.cli.runs.logs import NodePrinter, merge_nodes
from launcher.run.output import Piece


def piece(at, data, stream=0):
    return Piece(stream, at, data, begins_line=True)


def test_lines_come_by_time_and_whole_with_their_node_in_front(capfd):
    said = {0: [piece(1.0, b"a "), piece(3.0, b"b\n")], 1: [piece(2.0, b"c\nd"), piece(2.5, b"!", stream=1)]}
    printer = NodePrinter(with_time=False)
    printer.show(merge_nodes(said))
    printer.finish()
    found = capfd.readouterr()
    assert "node 1 | c\nnode 0 | a b\nnode 1 | d\n" == found.out
    assert "node 1 | !\n" == found.err

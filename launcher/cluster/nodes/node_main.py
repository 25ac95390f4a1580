"""A further node's own program: `python -I -S node_main.py SITE RUN_DIR ATTEMPT NODES ADDRESS PORT INTERFACE`, once on each."""

import os
import sys

if __name__ == "__main__":
    _package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path[:0] = list(dict.fromkeys([_package_root, sys.argv[1]]))
    from pathlib import Path

    from launcher.cluster.nodes.node import NodeArguments, main
    from runtime.state_dir import RunDir

    attempt, nodes, address, port, interface = sys.argv[3:]
    main(RunDir(Path(sys.argv[2])), NodeArguments(int(attempt), int(nodes), address, int(port), interface or None))

"""What a node says of itself, as one line of JSON: `python -I node_main.py LAUNCH_HOME TOKEN SCRATCH`.

TOKEN is a file below LAUNCH_HOME that the asking machine has just made and holds a lock on.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    from launcher.cluster.checkup.node_report import node_report

    print(node_report(sys.argv[1], sys.argv[2], sys.argv[3] or None), flush=True)

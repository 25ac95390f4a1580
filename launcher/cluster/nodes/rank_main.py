"""Two processes of the step of ranks: `python -I -S rank_main.py SITE RUN_DIR MPI NODES PROCESSES` watches it on the first node,
`… RUN_DIR PROCESSES` is one of its tasks."""

import os
import sys

if __name__ == "__main__":
    _package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path[:0] = list(dict.fromkeys([_package_root, sys.argv[1]]))
    from pathlib import Path

    from runtime.state_dir import RunDir

    run_dir, arguments = RunDir(Path(sys.argv[2])), sys.argv[3:]
    if len(arguments) == 1:
        from launcher.cluster.nodes.rank_task import main

        sys.exit(main(run_dir, int(arguments[0])))
    from launcher.cluster.nodes.rank_step import watch

    mpi, nodes, processes = arguments
    sys.exit(watch(run_dir, mpi=mpi, nodes=int(nodes), processes=int(processes)))

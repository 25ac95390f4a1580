"""What a supervisor and the tracker of its run say to each other.

There is one socket for each run (SOCK_SEQPACKET), its *channel*:

    READY {json}     to the supervisor: {"mlflow": {"run_id", "experiment_id", ...}, "token": "...", "error": null or why not yet}
                     `provisional: true` when MLflow hasn't answered yet: the gateway translates the id that the program has;
                     {"mlflow": null} with `tracking: null`; {"error": "..."} when it cannot be tracked, and why
    LISTENER (+ fd)  to the tracker: the gateway's listener
    CATCH_UP         to the tracker: take in what the run's files hold now, and answer CAUGHT_UP
    END              to the tracker: the run's journal is closed; send the rest
    DONE             to the supervisor: nothing more will come; MLflow has everything, or will never take it
    LEFT             to the supervisor: nothing more will come; what MLflow has not got is left to the sender

When the channel ends without END, the supervisor has died, and the tracker calls another one; when it ends without DONE or LEFT,
the tracker has died.
"""

READY = b"ready "
LISTENER = b"listener"
CATCH_UP = b"catch up"
CAUGHT_UP = b"caught up"
END = b"end"
DONE = b"done"
LEFT = b"left"

MESSAGE_MAX = 1 << 16

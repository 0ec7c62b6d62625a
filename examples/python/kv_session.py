#!/usr/bin/env python3
"""Stores and reads many pairs over one session. README.md beside this file tells how to make the
stubs, and kv_client.py shows what a client does when a request fails."""

import argparse
import queue
import secrets
import sys

import grpc
from kv.v1 import kv_pb2, kv_pb2_grpc

# At most 1024 operations may be under way on one session.
WINDOW = 256
TIMEOUT_MS = 5000


class Session:
    """Operations over one stream. An answer is kept until it is asked for."""

    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint)
        self.outgoing = queue.SimpleQueue()
        self.responses = kv_pb2_grpc.KvStub(self.channel).Session(iter(self.outgoing.get, None))
        self.next_id = 1
        self.goes_away = False

    def send(self, operations):
        """Sends operations in one message; answers their ids."""
        ids = range(self.next_id, self.next_id + len(operations))
        self.next_id += len(operations)
        for id, operation in zip(ids, operations):
            operation.id, operation.timeout_ms = id, TIMEOUT_MS
        self.outgoing.put(kv_pb2.SessionRequest(operations=operations))
        return ids

    def answers(self, ids):
        """Waits for the answers to these operations; they come in any order."""
        missing, found = set(ids), {}
        for message in self.responses:
            # A node that stops takes no more: end this side, and go on with another node.
            self.goes_away |= message.going_away
            for answer in message.responses:
                found[answer.id] = answer
                missing.discard(answer.id)
            if not missing:
                return found
        # Those that are missing may have been applied: a write with a request id may be sent again.
        raise ConnectionError(f"the session ended with {len(missing)} operations unanswered")

    def close(self):
        self.outgoing.put(None)
        self.channel.close()


def put(client_id, key, value):
    # A client has one write in flight under its id, so each write here has an id of its own.
    request_id = kv_pb2.RequestId(client_id=client_id, sequence=1)
    return kv_pb2.Operation(put=kv_pb2.PutRequest(key=key, value=value, request_id=request_id))


def get(key):
    return kv_pb2.Operation(get=kv_pb2.GetRequest(key=key))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="127.0.0.1:7001", metavar="HOST:PORT")
    parser.add_argument("--pairs", type=int, default=1000)
    options = parser.parse_args()
    session = Session(options.endpoint)
    keys = [b"session/%08d" % number for number in range(options.pairs)]
    for first in range(0, len(keys), WINDOW):
        some = keys[first : first + WINDOW]
        ids = session.send([put(secrets.token_bytes(16), key, b"value of " + key) for key in some])
        for id, answer in session.answers(ids).items():
            if answer.WhichOneof("response") == "failure":
                sys.exit(f"operation {id}: {answer.failure.message}")
        answers = session.answers(ids := session.send([get(key) for key in some]))
        for id, key in zip(ids, some):
            if answers[id].get.pair.value != b"value of " + key:
                sys.exit(f"{key!r} has another value than it was given")
    session.close()
    print(f"stored and read {len(keys)} pairs")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A small client of the key-value store. README.md beside this file tells how to make the stubs."""

import argparse
import secrets
import sys
import time

import grpc
from kv.v1 import kv_pb2, kv_pb2_grpc
from node.v1 import cluster_pb2, cluster_pb2_grpc

# Metadata, as the head comment of node/v1/cluster.proto documents it.
CLUSTER_ID = "node-cluster-id"
NOT_APPLIED = "node-not-applied"
NODE_FAULT = "node-fault"
LEADER_ADDR = "node-leader-addr"

# Another node, or the same one later, may serve these.
WORTH_ANOTHER_TRY = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DATA_LOSS,
}
CONNECT_SECONDS = 0.5
QUESTION_SECONDS = 1.0
PAUSE_SECONDS = 0.1
MIN_ATTEMPT_SECONDS = 0.1


class NotApplied(Exception):
    """The request changed nothing. It may be sent again as a new one."""


class Refused(NotApplied):
    """The request changed nothing, and sending it again would not help."""


class OutcomeUnknown(Exception):
    """The write may have been applied, or may still be. Only reading tells."""


class WrongCluster(Exception):
    """The endpoints, or an answer, belong to another cluster."""


class Client:
    """Talks to one cluster, with one write in flight. Not for several threads at once."""

    def __init__(self, endpoints, timeout=5.0, cluster_id=""):
        self.timeout = timeout
        self.cluster_id = cluster_id
        self.client_id = secrets.token_bytes(16)
        self.sequence = 0
        self.channels = {endpoint: grpc.insecure_channel(endpoint) for endpoint in endpoints}
        self.first = endpoints[0]

    def put(self, key, value):
        """Stores `value` under `key`, once, however often the request has to be sent."""
        self.sequence += 1
        request_id = kv_pb2.RequestId(client_id=self.client_id, sequence=self.sequence)
        request = kv_pb2.PutRequest(key=key, value=value, request_id=request_id)
        return self._call("Put", request, writes=True).header.revision

    def get(self, key):
        """The value stored under `key`, or None."""
        answer = self._call("Get", kv_pb2.GetRequest(key=key), writes=False)
        return answer.pair.value if answer.HasField("pair") else None

    def _call(self, method, request, writes):
        """Sends `request` to one node after the other until one answers, or the time is over."""
        deadline = time.monotonic() + self.timeout
        self._identify()
        maybe_applied = False
        last = None
        while time.monotonic() < deadline:
            others = [endpoint for endpoint in list(self.channels) if endpoint != self.first]
            turn = [self.first, *others]
            for tried, endpoint in enumerate(turn):
                # A node that accepts the request and never answers must leave time for the others.
                share = (deadline - time.monotonic()) / (len(turn) - tried)
                stub = kv_pb2_grpc.KvStub(self.channels[endpoint])
                metadata = [(CLUSTER_ID, self.cluster_id)] if self.cluster_id else []
                if not self._connected(endpoint, share):
                    # Nothing was sent.
                    last = f"{endpoint}: cannot connect"
                    continue
                try:
                    answer = getattr(stub, method)(
                        request, timeout=max(share, MIN_ATTEMPT_SECONDS), metadata=metadata
                    )
                except grpc.RpcError as error:
                    last = f"{endpoint}: {error.code().name}: {error.details()}"
                    said = dict(error.trailing_metadata() or ())
                    # The only proof. The code is none: gRPC itself makes UNAVAILABLE of a connection
                    # that broke after the request was sent.
                    proof = said.get(NOT_APPLIED) == "1"
                    maybe_applied |= writes and not proof
                    if not self._try_another(error.code(), said):
                        raise self._end(maybe_applied, Refused, last) from error
                    continue
                self._learn(endpoint, answer.header.cluster_id)
                self.first = endpoint
                return answer
            time.sleep(PAUSE_SECONDS)
        raise self._end(maybe_applied, NotApplied, last)

    def _connected(self, endpoint, seconds):
        try:
            grpc.channel_ready_future(self.channels[endpoint]).result(min(seconds, CONNECT_SECONDS))
            return True
        except grpc.FutureTimeoutError:
            return False

    def _try_another(self, code, said):
        """Whether another node, or the same one later, may answer better."""
        stranger = said.get(CLUSTER_ID, "") not in ("", self.cluster_id) and self.cluster_id
        outsider = code == grpc.StatusCode.FAILED_PRECONDITION and not said.get(CLUSTER_ID)
        if stranger or (outsider and self.cluster_id and len(self.channels) > 1):
            return True
        self.cluster_id = self.cluster_id or said.get(CLUSTER_ID, "")
        leader = said.get(LEADER_ADDR)
        if leader in self.channels:
            self.first = leader
        return code in WORTH_ANOTHER_TRY or NODE_FAULT in said

    @staticmethod
    def _end(maybe_applied, otherwise, last):
        return OutcomeUnknown(last) if maybe_applied else otherwise(last or "no time left")

    def _learn(self, endpoint, cluster_id):
        """Remembers the cluster of the first answer, and believes no other."""
        if self.cluster_id and cluster_id and cluster_id != self.cluster_id:
            raise WrongCluster(f"{endpoint} answers for cluster {cluster_id}, not {self.cluster_id}")
        self.cluster_id = self.cluster_id or cluster_id

    def _identify(self):
        """Asks all endpoints which cluster they belong to, before a write could reach a foreign one."""
        if self.cluster_id or len(self.channels) == 1:
            return
        asked = {
            endpoint: cluster_pb2_grpc.ClusterStub(channel).Status.future(
                cluster_pb2.StatusRequest(), timeout=QUESTION_SECONDS
            )
            for endpoint, channel in self.channels.items()
        }
        clusters = {}
        for endpoint, answer in asked.items():
            if answer.exception() is None and answer.result().header.cluster_id:
                clusters.setdefault(answer.result().header.cluster_id, []).append(endpoint)
        if len(clusters) > 1:
            raise WrongCluster(f"the endpoints belong to different clusters: {clusters}")
        self.cluster_id = next(iter(clusters), "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", default="127.0.0.1:7001")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds")
    parser.add_argument("--cluster", default="", help="talk to the cluster with this id only")
    parser.add_argument("command", choices=["put", "get"])
    parser.add_argument("key")
    parser.add_argument("value", nargs="?")
    args = parser.parse_args()
    client = Client(args.endpoints.split(","), args.timeout, args.cluster)
    try:
        if args.command == "put":
            print("OK, revision", client.put(args.key.encode(), (args.value or "").encode()))
            return 0
        value = client.get(args.key.encode())
        if value is None:
            return 1
        sys.stdout.buffer.write(value + b"\n")
        return 0
    except WrongCluster as error:
        print(f"wrong cluster: {error}", file=sys.stderr)
        return 3
    except Refused as error:
        print(f"refused, not applied: {error}", file=sys.stderr)
        return 4
    except NotApplied as error:
        print(f"not applied: {error}", file=sys.stderr)
        return 2
    except OutcomeUnknown as error:
        print(f"outcome unknown: {error}", file=sys.stderr)
        return 5


if __name__ == "__main__":
    sys.exit(main())

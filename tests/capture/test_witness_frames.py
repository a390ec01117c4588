"""Frames that others made: the public vectors, and those of dlms-cosem 21.3.2."""

from dlms_cosem.hdlc import address, frames

from metercast.capture.dialogue import describe_frames
from metercast.dlms.describe import Description

SNRM = "7EA00802232193BD647E"
UA = "7EA01F21022373E6C781801205019A06019A070400000001080400000001CCA27E"
AARQ = "7EA02C02232110AF9FE6E600601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFFC5E47E"
ANSWER = bytes.fromhex("e6e700c401c100090c07ea0911040c0f0600ff4c00")


def text(nodes: list[Description]) -> str:
    return "\n".join(line for node in nodes for line in node.lines())


def test_the_public_vectors() -> None:
    shown = text(describe_frames(bytes.fromhex(SNRM + UA + AARQ)))
    assert "SNRM from 16 to 1/17 (2 octets)" in shown
    assert "sends 154 octets a frame and 1 frames at a time, takes 154 and 1" in shown
    assert "initiate-request" in shown
    assert "not readable" not in shown


def test_a_link_of_dlms_cosem() -> None:
    client = address.HdlcAddress(logical_address=16, physical_address=None, address_type="client")
    for logical, physical, shown in ((1, None, "1"), (1, 17, "1/17 (2 octets)"), (200, 5000, "200/5000 (4 octets)")):
        server = address.HdlcAddress(logical_address=logical, physical_address=physical, address_type="server")
        line = [
            frames.SetNormalResponseModeFrame(server, client),
            frames.InformationFrame(
                client, server, ANSWER[:11], send_sequence_number=0, receive_sequence_number=1, segmented=True
            ),
            frames.ReceiveReadyFrame(server, client, receive_sequence_number=1),
            frames.InformationFrame(
                client, server, ANSWER[11:], send_sequence_number=1, receive_sequence_number=1, segmented=False
            ),
            frames.DisconnectFrame(server, client),
        ]
        nodes = describe_frames(b"".join(frame.to_bytes() for frame in line))
        told = text(nodes)
        assert [node.faults for node in nodes] == [0] * 5
        assert f"SNRM from 16 to {shown}, poll/final" in told
        assert f"I from {shown} to 16, N(S) 1, N(R) 1" in told
        assert "2026-09-17 12:15:06" in told
        assert f"DISC from 16 to {shown}" in told

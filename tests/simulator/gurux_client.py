# mypy: ignore-errors
"""Another's DLMS client (gurux-dlms, GPL), run in a process and an environment of its own, never imported.

`python gurux_client.py < CONFIGURATION` opens an association with a meter on TCP, does the steps of the configuration
and prints, as the last line, {"results": [...]}. A step that the meter refuses is {"error": CODE}.
"""

import json
import socket
import sys
from datetime import datetime

from gurux_dlms import GXByteBuffer, GXDateTime, GXReplyData
from gurux_dlms.ecdsa import GXPrivateKey, GXPublicKey
from gurux_dlms.enums import (
    AccessServiceCommandType,
    Authentication,
    Conformance,
    DataType,
    ErrorCode,
    InterfaceType,
    ObjectType,
    Security,
)
from gurux_dlms.GXDLMSAccessItem import GXDLMSAccessItem
from gurux_dlms.GXDLMSClient import GXDLMSClient
from gurux_dlms.GXDLMSSettings import GXDLMSSettings
from gurux_dlms.objects import GXDLMSImageTransfer, GXDLMSProfileGeneric, GXDLMSSecuritySetup
from gurux_dlms.objects.enums import GlobalKeyType, SecuritySuite
from gurux_dlms.secure import GXDLMSSecureClient

# A slip of version 1.0.203: what acknowledges general blocks asks for a number by a name that the settings don't have.
GXDLMSSettings.blockNumber = property(lambda self: self.blockIndex)


class Refused(Exception):
    """The meter's error code."""


class Session:
    def __init__(self, given):
        interface, server = InterfaceType.WRAPPER, given["server"]
        if given["framing"] == "hdlc":
            interface = InterfaceType.HDLC
            if given["addressSize"] > 1:
                server = GXDLMSClient.getServerAddress(server, given["physicalDevice"], given["addressSize"])
        self.client = client = GXDLMSSecureClient(
            True, given["client"], server, Authentication[given["authentication"]], given["password"], interface
        )
        if given["framing"] == "hdlc" and given["addressSize"] > 1:
            client.serverAddressSize = given["addressSize"]
        client.maxReceivePDUSize = given["maxPdu"]
        for name in given["offers"]:
            client.proposedConformance |= Conformance[name]
        if given["encryptionKey"]:
            cipher = client.ciphering
            cipher.security = Security[given["security"]]
            cipher.securitySuite = SecuritySuite(given["suite"])
            cipher.systemTitle = bytes.fromhex(given["title"])
            cipher.blockCipherKey = bytes.fromhex(given["encryptionKey"])
            cipher.authenticationKey = bytes.fromhex(given["authenticationKey"])
            cipher.invocationCounter = given["counter"]
            if given["dedicatedKey"]:
                cipher.dedicatedKey = bytes.fromhex(given["dedicatedKey"])
        if given["signingKey"]:
            mine = GXPrivateKey.fromRawBytes(bytes.fromhex(given["signingKey"]))
            client.ciphering.signingKeyPair = (GXPublicKey.fromRawBytes(bytes.fromhex(given["publicKey"])), mine)
            client.ciphering.securitySuite = SecuritySuite(given["suite"])
            client.ciphering.systemTitle = bytes.fromhex(given["title"])
        if given["window"]:
            client.settings.gbtWindowSize = given["window"]
        self.is_hdlc = interface == InterfaceType.HDLC
        self.left = bytearray()
        self.connection = socket.create_connection((given["host"], given["port"]), timeout=20)

    def open(self):
        snrm = self.client.snrmRequest()
        if snrm:
            self.client.parseUAResponse(self.ask(snrm).data)
        self.client.parseAareResponse(self.ask(*self.client.aarqRequest()).data)
        if self.client.isAuthenticationRequired:
            reply = self.ask(*self.client.getApplicationAssociationRequest())
            self.client.parseApplicationAssociationResponse(reply.data)

    def close(self):
        for request in (self.client.releaseRequest, self.client.disconnectRequest):
            frames = request()  # only now: each changes what the client expects
            if frames:
                self.ask(*flat(frames))
        self.connection.close()

    def ask(self, *frames):
        """The answer to the last frame, of all its blocks."""
        reply = GXReplyData()
        for frame in frames:
            reply.clear()
            self.exchange(frame, reply)
            while reply.isMoreData():
                if reply.isStreaming():
                    self.exchange(None, reply)
                    continue
                reply.gbtWindowSize = self.client.settings.gbtWindowSize
                for asking in flat(self.client.receiverReady(reply)):
                    self.exchange(asking, reply)
        return reply

    def exchange(self, frame, reply):
        """Sends a frame, if there is one, and reads what answers it, or streams on by itself."""
        if frame is not None:
            self.connection.sendall(bytes(frame))
        received = GXByteBuffer()
        while True:
            received.set(self.receive())
            if self.client.getData(received, reply, GXReplyData()):
                break
        if reply.error:
            raise Refused(reply.error)

    def receive(self):
        """Whatever came over HDLC, or one frame of the wrapper: several come at once where the meter streams."""
        while self.is_hdlc or len(self.left) < 8 or len(self.left) < self.wrapped():
            octets = self.connection.recv(65536)
            if not octets:
                raise ConnectionError("the meter closed the connection")
            if self.is_hdlc:
                return octets
            self.left += octets
        frame = bytes(self.left[: self.wrapped()])
        del self.left[: self.wrapped()]
        return frame

    def wrapped(self):
        return 8 + int.from_bytes(self.left[6:8], "big")

    def target(self, class_id, name):
        found = self.client.createObject(ObjectType(class_id))
        found.logicalName = name
        return found

    def get(self, class_id, name, index):
        return self.ask(*flat(self.client.read(self.target(class_id, name), index))).value

    def get_list(self, *items):
        targets = [(self.target(class_id, name), index) for class_id, name, index in items]
        return [value for frame in flat(self.client.readList(targets)) for value in self.ask(frame).value]

    def access(self, *items):
        """ACCESS, each an attribute to read: its value, or its error as a negative number."""
        wanted = [GXDLMSAccessItem(AccessServiceCommandType.GET, self.target(*item[:2]), item[2]) for item in items]
        answer = self.ask(*flat(self.client.accessRequest(None, wanted)))
        self.client.parseAccessResponse(wanted, answer.data)
        return [each.value if each.error == ErrorCode.OK else -int(each.error) for each in wanted]

    def set(self, class_id, name, index, kind, value):
        write = self.client._GXDLMSClient__write  # the public one knows only values of its own objects
        self.ask(*flat(write(name, octets(value), DataType[kind], ObjectType(class_id), index)))

    def action(self, class_id, name, index, kind, value):
        self.ask(*flat(self.client.method(self.target(class_id, name), index, octets(value), DataType[kind])))

    def transfer_keys(self, kek, *keys):
        """Key transfer: each a number of its kind and the key, wrapped with `kek`."""
        wrapped = [(GlobalKeyType(kind), bytes.fromhex(key)) for kind, key in keys]
        setup = GXDLMSSecuritySetup("0.0.43.0.0.255")
        self.ask(*flat(setup.globalKeyTransfer(self.client, bytes.fromhex(kek), wrapped)))

    def transfer_image(self, identification, image):
        """Initiate and every block; the number of blocks."""
        transfer, octets = GXDLMSImageTransfer("0.0.44.0.0.255"), bytes.fromhex(image)
        transfer.imageBlockSize = self.ask(*flat(self.client.read(transfer, 2))).value
        self.ask(*flat(transfer.imageTransferInitiate(self.client, identification, len(octets))))
        blocks = transfer.imageBlockTransfer(self.client, octets, None)
        for frames in blocks:
            self.ask(*flat(frames))
        return len(blocks)

    def rows(self, name, first, count):
        profile = self.profile(name)
        return self.buffer(profile, self.client.readRowsByEntry(profile, first, count))

    def rows_of_a_time(self, name, first, last):
        profile = self.profile(name)
        start, end = (GXDateTime(datetime.fromisoformat(each)) for each in (first, last))
        return self.buffer(profile, self.client.readRowsByRange(profile, start, end))

    def profile(self, name):
        profile = GXDLMSProfileGeneric(name)
        self.client.updateValue(profile, 3, self.ask(*flat(self.client.read(profile, 3))).value)
        return profile

    def buffer(self, profile, frames):
        self.client.updateValue(profile, 2, self.ask(*flat(frames)).value)
        return profile.buffer

    def object_list(self):
        found = self.client.parseObjects(self.ask(*flat(self.client.getObjectsRequest())).data, False)
        return [[int(each.objectType), each.logicalName, each.version] for each in found]


def flat(frames):
    for each in frames if isinstance(frames, list) else [frames]:
        if isinstance(each, list):
            yield from flat(each)
        else:
            yield each


def octets(value):
    return bytes.fromhex(value[4:]) if isinstance(value, str) and value.startswith("hex:") else value


def plain(value):
    """JSON of what the library makes of a value; octets are "hex:" and their digits."""
    if isinstance(value, (bytes, bytearray)):
        return "hex:" + bytes(value).hex()
    if isinstance(value, GXDateTime):
        return value.value.isoformat()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (bool, str, float)):
        return value
    return int(value)


def main():
    given = json.load(sys.stdin)
    session = Session(given)
    session.open()
    results = []
    for name, *arguments in given["steps"]:
        try:
            results.append(plain(getattr(session, name)(*arguments)))
        except Refused as refused:
            results.append({"error": refused.args[0]})
    if not given["leaves"]:
        session.close()
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()

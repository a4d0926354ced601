# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The messages of echo.proto, made at run time: code that protoc has generated fits some versions of its library only."""

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message_factory import GetMessages

PACKAGE = "utmstack.standin"
MESSAGES = {"SayRequest": ["text"], "SayReply": ["text", "replica"]}


def declaration() -> FileDescriptorProto:
    file = FileDescriptorProto(name="echo.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, start=1):
            message.field.add(
                name=field,
                number=number,
                type=FieldDescriptorProto.TYPE_STRING,
                label=FieldDescriptorProto.LABEL_OPTIONAL,
            )
    return file


_classes = GetMessages([declaration()])
SayRequest, SayReply = (_classes[f"{PACKAGE}.{name}"] for name in MESSAGES)

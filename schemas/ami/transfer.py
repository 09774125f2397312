"""Events in which one channel replaces another (class call)."""

from msgspec import Struct, field

from schemas.ami import AmiEvent


class Party(Struct, frozen=True, gc=False):
    """The channel that replaces another."""

    unique_id: str
    linked_id: str
    channel: str
    caller_id_num: str
    caller_id_name: str
    connected_line_num: str
    connected_line_name: str


class AttendedTransfer(AmiEvent, frozen=True, kw_only=True, gc=False):
    """AttendedTransfer (bridge.c, stasis_bridges.c of Asterisk 16 and 22).

    The transferer has two legs. With ``dest_type`` App one of them is in an application instead of a bridge, and the
    peer of the other leg replaces it there: name and unique id are swapped, without a Rename event.
    """

    result: str = field(name="Result", default="")
    dest_type: str = field(name="DestType", default="")
    orig_transferer_unique_id: str = field(name="OrigTransfererUniqueid", default="")
    orig_bridge_id: str = field(name="OrigBridgeUniqueid", default="")
    second_transferer_unique_id: str = field(name="SecondTransfererUniqueid", default="")
    transferee_unique_id: str = field(name="TransfereeUniqueid", default="")
    transferee_linked_id: str = field(name="TransfereeLinkedid", default="")
    transferee_channel: str = field(name="TransfereeChannel", default="")
    transferee_caller_id_num: str = field(name="TransfereeCallerIDNum", default="")
    transferee_caller_id_name: str = field(name="TransfereeCallerIDName", default="")
    transferee_connected_line_num: str = field(name="TransfereeConnectedLineNum", default="")
    transferee_connected_line_name: str = field(name="TransfereeConnectedLineName", default="")
    target_unique_id: str = field(name="TransferTargetUniqueid", default="")
    target_linked_id: str = field(name="TransferTargetLinkedid", default="")
    target_channel: str = field(name="TransferTargetChannel", default="")
    target_caller_id_num: str = field(name="TransferTargetCallerIDNum", default="")
    target_caller_id_name: str = field(name="TransferTargetCallerIDName", default="")
    target_connected_line_num: str = field(name="TransferTargetConnectedLineNum", default="")
    target_connected_line_name: str = field(name="TransferTargetConnectedLineName", default="")

    def replaced(self) -> str:
        """Return the unique id of the leg that is replaced in an application, empty if there is none."""
        if self.result != "Success" or self.dest_type != "App":
            return ""
        return self.second_transferer_unique_id if self.orig_bridge_id else self.orig_transferer_unique_id

    def replacement(self) -> Party:
        """Return the channel that replaces the leg; its unique id is empty where the event does not name it."""
        if self.orig_bridge_id:
            return Party(
                self.transferee_unique_id,
                self.transferee_linked_id,
                self.transferee_channel,
                self.transferee_caller_id_num,
                self.transferee_caller_id_name,
                self.transferee_connected_line_num,
                self.transferee_connected_line_name,
            )
        return Party(
            self.target_unique_id,
            self.target_linked_id,
            self.target_channel,
            self.target_caller_id_num,
            self.target_caller_id_name,
            self.target_connected_line_num,
            self.target_connected_line_name,
        )


class LocalOptimization(AmiEvent, frozen=True, kw_only=True, gc=False):
    """LocalOptimizationBegin: channel ``source`` replaces one half of a Local channel in a bridge.

    LocalOptimizationEnd always follows; its Success is "No" after every success (recorded with 16.28 and 22.10).
    """

    one_channel: str = field(name="LocalOneChannel", default="")
    one_unique_id: str = field(name="LocalOneUniqueid", default="")
    two_unique_id: str = field(name="LocalTwoUniqueid", default="")
    source_channel: str = field(name="SourceChannel", default="")
    source_unique_id: str = field(name="SourceUniqueid", default="")

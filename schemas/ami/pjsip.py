"""Objects of chan_pjsip. ``...List`` come from PJSIPShow...s, ``...Detail`` from PJSIPShowEndpoint."""

from msgspec import field

from schemas.ami import AmiEvent, Float, Int


class Aor(AmiEvent, frozen=True, kw_only=True, gc=False):
    """AorList and AorDetail; ``contacts`` is ``aor/uri,aor/uri``; the last three are in AorDetail only."""

    object_type: str = field(name="ObjectType", default="")
    object_name: str = field(name="ObjectName", default="")
    contacts: str = field(name="Contacts", default="")
    minimum_expiration: Int = field(name="MinimumExpiration", default=0)
    default_expiration: Int = field(name="DefaultExpiration", default=0)
    maximum_expiration: Int = field(name="MaximumExpiration", default=0)
    qualify_timeout: Float = field(name="QualifyTimeout", default=0.0)
    qualify_frequency: Int = field(name="QualifyFrequency", default=0)
    authenticate_qualify: str = field(name="AuthenticateQualify", default="")
    mailboxes: str = field(name="Mailboxes", default="")
    max_contacts: Int = field(name="MaxContacts", default=0)
    outbound_proxy: str = field(name="OutboundProxy", default="")
    remove_existing: str = field(name="RemoveExisting", default="")
    support_path: str = field(name="SupportPath", default="")
    voicemail_extension: str = field(name="VoicemailExtension", default="")
    total_contacts: Int | None = field(name="TotalContacts", default=None)
    contacts_registered: Int | None = field(name="ContactsRegistered", default=None)
    endpoint_name: str | None = field(name="EndpointName", default=None)

    def uris(self) -> list[str]:
        """Return the URIs of all contacts; a URI may contain commas."""
        start = f"{self.object_name}/"
        return self.contacts.removeprefix(start).split(f",{start}") if self.contacts.startswith(start) else []


class Auth(AmiEvent, frozen=True, kw_only=True, gc=False):
    """AuthList and AuthDetail; secret values are masked in the log."""

    object_type: str = field(name="ObjectType", default="")
    object_name: str = field(name="ObjectName", default="")
    username: str = field(name="Username", default="")
    auth_type: str = field(name="AuthType", default="")
    password: str = field(name="Password", default="")
    md5_cred: str = field(name="Md5Cred", default="")
    realm: str = field(name="Realm", default="")
    nonce_lifetime: Int = field(name="NonceLifetime", default=0)
    endpoint_name: str | None = field(name="EndpointName", default=None)


class ContactStatus(AmiEvent, frozen=True, kw_only=True, gc=False):
    """ContactStatus, live: NonQualified when the contact is created, then Reachable, Unreachable, ..., Removed."""

    aor: str = field(name="AOR", default="")
    uri: str = field(name="URI", default="")
    status: str = field(name="ContactStatus", default="")
    endpoint_name: str = field(name="EndpointName", default="")
    round_trip_usec: str = field(name="RoundtripUsec", default="")


class ContactDetail(AmiEvent, frozen=True, kw_only=True, gc=False):
    """ContactStatusDetail, for registered and configured contacts; ``reg_expire`` is seconds since the epoch."""

    id: str = field(name="ID", default="")
    aor: str = field(name="AOR", default="")
    uri: str = field(name="URI", default="")
    status: str = field(name="Status", default="")
    endpoint_name: str = field(name="EndpointName", default="")
    round_trip_usec: str = field(name="RoundtripUsec", default="")
    user_agent: str = field(name="UserAgent", default="")
    reg_expire: Int = field(name="RegExpire", default=0)
    via_address: str = field(name="ViaAddress", default="")
    call_id: str = field(name="CallID", default="")
    authentication_qualify: Int = field(name="AuthenticateQualify", default=0)
    outbound_proxy: str = field(name="OutboundProxy", default="")
    path: str = field(name="Path", default="")
    qualify_frequency: Int = field(name="QualifyFrequency", default=0)
    qualify_timeout: Float = field(name="QualifyTimeout", default=0.0)


class ContactListed(AmiEvent, frozen=True, kw_only=True, gc=False):
    """ContactList, for registered contacts only; ``id`` is ``aor;@<md5 of the uri>``."""

    id: str = field(name="ObjectName", default="")
    uri: str = field(name="Uri", default="")
    status: str = field(name="Status", default="")
    endpoint_name: str = field(name="Endpoint", default="")
    round_trip_usec: str = field(name="RoundtripUsec", default="")
    user_agent: str = field(name="UserAgent", default="")
    reg_expire: Int = field(name="ExpirationTime", default=0)
    via_address: str = field(name="ViaAddr", default="")
    via_port: str = field(name="ViaPort", default="")
    call_id: str = field(name="CallId", default="")
    authenticate_qualify: str = field(name="AuthenticateQualify", default="")
    outbound_proxy: str = field(name="OutboundProxy", default="")
    path: str = field(name="Path", default="")
    qualify_frequency: Int = field(name="QualifyFrequency", default=0)
    qualify_timeout: Float = field(name="QualifyTimeout", default=0.0)


class EndpointListed(AmiEvent, frozen=True, kw_only=True, gc=False):
    """EndpointList; ``contacts`` is ``aor/uri,`` repeated, ``device_state`` is in the CLI's words ("Not in use")."""

    object_type: str = field(name="ObjectType", default="")
    object_name: str = field(name="ObjectName", default="")
    transport: str = field(name="Transport", default="")
    aors: str = field(name="Aor", default="")
    auth: str = field(name="Auths", default="")
    outbound_auth: str = field(name="OutboundAuths", default="")
    contacts: str = field(name="Contacts", default="")
    device_state: str = field(name="DeviceState", default="")


class EndpointState(AmiEvent, frozen=True, kw_only=True, gc=False):
    """DeviceStateChange; with an ActionID it is an item of DeviceStateList, otherwise a live event."""

    action_id: str = field(name="ActionID", default="")
    device: str = field(name="Device", default="")
    state: str = field(name="State", default="")


class OutboundRegistration(AmiEvent, frozen=True, kw_only=True, gc=False):
    """OutboundRegistrationDetail; intervals and expiration are seconds."""

    object_type: str = field(name="ObjectType", default="")
    object_name: str = field(name="ObjectName", default="")
    status: str = field(name="Status", default="")
    server_uri: str = field(name="ServerUri", default="")
    client_uri: str = field(name="ClientUri", default="")
    max_retries: Int = field(name="MaxRetries", default=0)
    retry_interval: Int = field(name="RetryInterval", default=0)
    fatal_retry_interval: Int = field(name="FatalRetryInterval", default=0)
    forbidden_retry_interval: Int = field(name="ForbiddenRetryInterval", default=0)
    auth_rejection_permanent: str = field(name="AuthRejectionPermanent", default="")
    support_path: str = field(name="SupportPath", default="")
    expiration: Int = field(name="Expiration", default=0)
    line: str = field(name="Line", default="")
    transport: str = field(name="Transport", default="")
    contact_user: str = field(name="ContactUser", default="")
    endpoint: str = field(name="Endpoint", default="")
    outbound_auth: str = field(name="OutboundAuth", default="")
    outbound_proxy: str = field(name="OutboundProxy", default="")
    next_reg: Int = field(name="NextReg", default=0)

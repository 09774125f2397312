"""Rows that no branch on main has yet: they must answer 404 or 405."""

NOT_BUILT = frozenset(
    """
    jade.core.modules.load jade.core.modules.reload jade.core.modules.unload jade.dialplan.adps.list
    jade.dialplan.adps.create jade.dialplan.adps.get jade.dialplan.adps.update jade.dialplan.adps.delete
    jade.dialplan.adpmas.list jade.dialplan.adpmas.create jade.dialplan.adpmas.get jade.dialplan.adpmas.update
    jade.dialplan.adpmas.delete jade.dialplan.configurations.list jade.dialplan.configurations.get
    jade.dialplan.configurations.update jade.dialplan.configurations.delete jade.dialplan.sdps.list
    jade.dialplan.sdps.get jade.dialplan.sdps.update jade.dialplan.sdps.delete jade.admin.info.get
    jade.admin.info.update jade.park.cfg_parkinglots.list jade.park.cfg_parkinglots.create
    jade.park.cfg_parkinglots.get jade.park.cfg_parkinglots.update jade.park.cfg_parkinglots.delete
    jade.park.configurations.list jade.park.configurations.get jade.park.configurations.update
    jade.park.configurations.delete jade.park.parkedcalls.hangup jade.park.parkinglots.update
    jade.park.parkinglots.delete jade.pjsip.configurations.list jade.pjsip.configurations.get
    jade.pjsip.configurations.update jade.pjsip.configurations.delete jade.queue.cfg_queues.list
    jade.queue.cfg_queues.create jade.queue.cfg_queues.get jade.queue.cfg_queues.update jade.queue.cfg_queues.delete
    jade.queue.configurations.list jade.queue.configurations.get jade.queue.configurations.update
    jade.queue.configurations.delete jade.user.users.list jade.user.users.create jade.user.users.get
    jade.user.users.update jade.user.users.delete jade.user.contacts.list jade.user.contacts.create
    jade.user.contacts.get jade.user.contacts.update jade.user.contacts.delete jade.user.permissions.list
    jade.user.permissions.create jade.user.permissions.get jade.user.permissions.update jade.user.permissions.delete
    jade.manager.sdialplans.list jade.manager.sdialplans.create jade.manager.sdialplans.get
    jade.manager.sdialplans.update jade.manager.sdialplans.delete jade.manager.trunks.list jade.manager.trunks.create
    jade.manager.trunks.get jade.manager.trunks.update jade.manager.trunks.delete jade.manager.users.list
    jade.manager.users.create jade.manager.users.get jade.manager.users.update jade.manager.users.delete
    jade.me.buddies.list jade.me.buddies.create jade.me.contacts.list jade.me.chats.list jade.me.chats.create
    jade.me.chats.get jade.me.chats.update jade.me.chats.delete jade.me.chats.messages.list
    jade.me.chats.messages.create jade.me.info.get
    """.split()
)

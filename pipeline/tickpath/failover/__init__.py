"""Hot standby: who is active, who may say so, and what happens when the answer changes.

lease           who holds the right to be active: the interface of every lease store
witness         the built-in store: processes that promise and grant, an odd number of them
lease_etcd      etcd by its JSON gateway; lease_redis, lease_kubernetes likewise
"""

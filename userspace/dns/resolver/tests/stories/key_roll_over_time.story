title: A zone's keys change while it is used
why: RFC 6781 section 4.1: old keys in the cache must not make new signatures bogus for long.

zone . signed ttl=300
zone test signed ttl=300
zone example.test signed ttl=300
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
zone example.test changes to signed seed=2 ttl=300
  www A 203.0.113.1
time passes 6m
ask www.example.test A
expect NOERROR secure

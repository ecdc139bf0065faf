title: A deleted domain is not kept alive by its own servers
why: Ghost domains (CVE-2012-1033 and others): the child names its servers again and again with a long time to live, but the delegation is the parent's.

zone . signed
zone test signed ttl=600
zone ghost.test ttl=60
  www A 203.0.113.1
  *.any A 203.0.113.2
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns.ghost.test 10.0.1.1 serves ghost.test
  ghost

---
ask www.ghost.test A
expect NOERROR insecure
zone ghost.test changes to undelegated ttl=60
  www A 203.0.113.1
  *.any A 203.0.113.2
time passes 5m
ask a.any.ghost.test A
ask ghost.test NS
time passes 6m
ask b.any.ghost.test A
expect NXDOMAIN secure
expect authority test SOA

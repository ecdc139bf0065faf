title: A zone stops signing in the right order
why: RFC 7583 section 3: once the DS record has gone and its time has passed, the zone is insecure and works.

zone . signed
zone test signed ttl=300 negative-ttl=300
zone example.test signed ttl=300
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
zone example.test changes to ttl=300
  www A 203.0.113.1
time passes 11m
ask www.example.test A
expect NOERROR insecure

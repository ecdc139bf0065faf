title: A zone is signed while its unsigned answers are in the cache
why: RFC 7583 section 3: with the DS record published, what was insecure becomes secure when its time has passed.

zone . signed
zone test signed ttl=300 negative-ttl=300
zone example.test ttl=300
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
zone example.test changes to signed ttl=300
  www A 203.0.113.1
time passes 11m
ask www.example.test A
expect NOERROR secure

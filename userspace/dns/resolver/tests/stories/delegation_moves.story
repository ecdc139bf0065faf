title: A zone moves to another server, and the old one refuses
why: The delegation lives for an hour more; a resolver that does not ask the parent again fails for that long.

zone . signed
zone test signed
  moved NS ns1.moved
  ns1.moved A 10.0.1.1
zone moved.test ttl=60
  @ NS ns1
  ns1 A 10.0.1.1
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns1.moved.test 10.0.1.1 serves moved.test
server ns2.moved.test 10.0.1.2 serves moved.test

---
ask www.moved.test A
expect NOERROR insecure
server ns1.moved.test refused
zone test changes to signed
  moved NS ns2.moved
  ns2.moved A 10.0.1.2
zone moved.test changes to ttl=60
  @ NS ns2
  ns2 A 10.0.1.2
  www A 203.0.113.1
time passes 10m
ask www.moved.test A
expect NOERROR insecure
expect answer www.moved.test A 203.0.113.1

title: Two zones whose servers are named in each other, with glue
why: RFC 9471 section 2.2: sibling glue is what makes such zones resolve.

zone . signed
zone test signed sibling-glue
zone one.test
  www A 203.0.113.1
zone two.test
  www A 203.0.113.2
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns.two.test 10.0.1.1 serves one.test
server ns.one.test 10.0.1.2 serves two.test

---
ask www.one.test A
expect NOERROR insecure
expect answer www.one.test A 203.0.113.1

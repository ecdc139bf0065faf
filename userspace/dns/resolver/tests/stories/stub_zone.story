title: A zone with servers of the operator's choice
why: Internal zones that no delegation leads to.

resolver stub corp.internal 10.0.3.1
world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
zone corp.internal undelegated
  www A 10.9.9.9
server ns.corp.internal 10.0.3.1 serves corp.internal

---
ask www.corp.internal A
expect answer www.corp.internal A 10.9.9.9
expect NOERROR
expect server a.root never sees www.corp.internal

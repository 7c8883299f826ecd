//! Components in text, to be broken.

/// A component in text; what a test breaks is put in.
pub(crate) struct Component {
    /// More of the core module.
    pub(crate) module: &'static str,
    pub(crate) pages: u32,
    pub(crate) realloc: &'static str,
    pub(crate) version: &'static str,
    /// Gives the address of its answer; 16 says `null`, 32 is an error that reads `no`. Payloads of two
    /// bytes do not come here: they are answered with `null`.
    pub(crate) decode: &'static str,
    pub(crate) exports: &'static str,
    pub(crate) imports: &'static str,
}

pub(crate) const SOUND: Component = Component {
    module: "",
    pages: 1,
    realloc: "(i32.const 4096)",
    version: "(i32.const 1)",
    decode: "(i32.const 16)",
    exports: DECODE,
    imports: "",
};

const DECODE: &str = r#"
  (func (export "decode")
    (param "payload" (list u8)) (param "received-at-ms" u64) (param "f-port" (option u8))
    (result (result string (error string)))
    (canon lift (core func $i "decode") (memory (core memory $i "memory"))
    (realloc (core func $i "cabi_realloc"))))
"#;

impl Component {
    /// Whether a call's values get in at all.
    pub(crate) fn takes_values(&self) -> bool {
        self.realloc == SOUND.realloc
    }

    pub(crate) fn binary(&self) -> Vec<u8> {
        let Self {
            module,
            pages,
            realloc,
            version,
            decode,
            exports,
            imports,
        } = self;
        let text = format!(
            r#"(component {imports}
  (core module $m
    (memory (export "memory") {pages})
    (data (i32.const 16) "\00\00\00\00\40\00\00\00\04\00\00\00")
    (data (i32.const 32) "\01\00\00\00\44\00\00\00\02\00\00\00")
    (data (i32.const 64) "nullno")
    (data (i32.const 2048) "\00\00\00\00\0c\08\00\00\04\00\00\00null")
    {module}
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
    (func (export "version") (result i32) {version})
    (func (export "decode") (param $at i32) (param $len i32) (param i64 i32 i32) (result i32)
      (if (i32.eq (local.get $len) (i32.const 2)) (then (return (i32.const 2048))))
      {decode})
    (func (export "encode") (param i32 i32) (result i32) (i32.const 32)))
  (core instance $i (instantiate $m))
  (func (export "model-version") (result u32) (canon lift (core func $i "version")))
  {exports}
  (func (export "encode") (param "command" string) (result (result (list u8) (error string)))
    (canon lift (core func $i "encode") (memory (core memory $i "memory"))
    (realloc (core func $i "cabi_realloc")))))"#
        );
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }
}

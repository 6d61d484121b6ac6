//! Which test runs, and the command that runs it alone.

/// A test as cargo knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestName {
    package: Option<String>,
    /// `--lib`, `--test name`, `--bin name`; empty where it is not known.
    target: String,
    /// As the test's runner knows it: `module::name`.
    path: String,
}

impl TestName {
    /// What the attribute knows of the test.
    #[doc(hidden)]
    pub fn new(
        package: &str,
        module_path: &str,
        function: &str,
        file: &str,
        is_integration_test: bool,
        bin: Option<&str>,
    ) -> Self {
        let (name, module) = match module_path.split_once("::") {
            Some((name, module)) => (name, format!("{module}::")),
            None => (module_path, String::new()),
        };
        let target = match bin {
            _ if is_integration_test => format!("--test {}", target_of_file(file, name)),
            Some(bin) => format!("--bin {bin}"),
            None => "--lib".to_owned(),
        };
        TestName {
            package: Some(package.to_owned()),
            target,
            path: format!("{module}{function}"),
        }
    }

    /// The test whose thread this is: the runner names threads after tests.
    pub(crate) fn of_thread() -> Self {
        let thread = std::thread::current();
        TestName {
            package: std::env::var("CARGO_PKG_NAME").ok(),
            target: String::new(),
            path: thread.name().unwrap_or("main").to_owned(),
        }
    }

    /// Its name for people and files.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The command that runs it with a variable set.
    pub(crate) fn command(&self, variable: &str, value: &str) -> String {
        let mut words = vec![format!("{variable}={value}")];
        let flags = std::env::var("RUSTFLAGS").ok();
        if let Some(flags) = flags.filter(|flags| !flags.is_empty()) {
            words.push(format!("RUSTFLAGS=\"{flags}\""));
        }
        words.push("cargo test".to_owned());
        if let Some(package) = &self.package {
            words.push(format!("-p {package}"));
        }
        if !self.target.is_empty() {
            words.push(self.target.clone());
        }
        words.push("-- --exact".to_owned());
        if may_be_ignored(std::env::args()) {
            words.push("--include-ignored".to_owned());
        }
        words.push(self.path.clone());
        words.join(" ")
    }
}

/// Whether the test that runs may be one that is `#[ignore]`d: such a one runs only where
/// its runner was told so.
fn may_be_ignored(mut arguments: impl Iterator<Item = String>) -> bool {
    arguments.any(|argument| matches!(&*argument, "--ignored" | "--include-ignored"))
}

/// The target of an integration test. Its crate has `_` where the file may have `-`.
fn target_of_file(file: &str, crate_name: &str) -> String {
    let file = file.replace('\\', "/");
    let mut parts = file.split('/').rev();
    let mut inner = parts.next().unwrap_or_default().trim_end_matches(".rs");
    loop {
        if inner.replace('-', "_") == crate_name {
            return inner.to_owned();
        }
        match parts.next() {
            Some(outer) => inner = outer,
            None => return crate_name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_an_ignored_one_only_where_its_runner_was_told_to_run_those() {
        let may_be = |line: &str| may_be_ignored(line.split(' ').map(str::to_owned));
        assert!(may_be("tests-1a2b --exact --ignored a_test"));
        assert!(may_be("tests-1a2b --include-ignored"));
        assert!(!may_be("tests-1a2b --exact ignored"));
    }

    #[test]
    fn the_command_names_package_target_and_test() {
        let command = |name: TestName| name.command("ETCD_SIM_SEED", "7");
        let ends = |name: TestName, end: &str| {
            let command = command(name);
            assert!(command.starts_with("ETCD_SIM_SEED=7 "), "{command}");
            assert!(command.ends_with(end), "{command}");
        };
        let in_lib = TestName::new(
            "my-crate",
            "my_crate::jobs::tests",
            "run",
            "src/jobs.rs",
            false,
            None,
        );
        ends(
            in_lib,
            "cargo test -p my-crate --lib -- --exact jobs::tests::run",
        );
        let in_bin = TestName::new(
            "my-crate",
            "tool",
            "run",
            "src/main.rs",
            false,
            Some("tool"),
        );
        ends(in_bin, "cargo test -p my-crate --bin tool -- --exact run");
        let file = "crates/my-crate/tests/with-faults.rs";
        let in_file = TestName::new("my-crate", "with_faults", "run", file, true, None);
        ends(in_file, "--test with-faults -- --exact run");
        let file = "tests/with-faults/part.rs";
        let in_folder = TestName::new("my-crate", "with_faults::part", "run", file, true, None);
        ends(in_folder, "--test with-faults -- --exact part::run");
    }
}

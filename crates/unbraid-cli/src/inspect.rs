//! `unbraid inspect`.

use crate::args::InspectArgs;
use crate::fault::Fault;

/// Prints what a file holds; problems do not make it fail.
pub fn run(args: &InspectArgs) -> Result<(), Fault> {
    let found = unbraid_io::inspect(&args.file)?;
    if args.json {
        let text = serde_json::to_string(&found).map_err(|e| Fault::Usage(e.to_string()))?;
        println!("{text}");
    } else {
        print!("{found}");
    }
    Ok(())
}

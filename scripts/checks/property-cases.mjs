/**
 * Set-up of every test file: which cases fast-check draws.
 *
 * By default the same ones each time, so that a change is judged by itself. `HSAP_TEST_SEED=random` (or a number) draws others, and
 * `HSAP_TEST_RUNS` sets how many of each property that does not say so itself: to look for what nobody thought of.
 */
import fc from "fast-check";

const everyDay = 20260630;

fc.configureGlobal({
  ...fc.readConfigureGlobal(),
  ...seedOf(process.env.HSAP_TEST_SEED),
  ...runsOf(process.env.HSAP_TEST_RUNS),
});

function seedOf(asked) {
  if (asked === undefined || asked === "") return { seed: everyDay };
  if (asked === "random") return {};
  return { seed: wholeNumber(asked, "HSAP_TEST_SEED", "a whole number or random") };
}

function runsOf(asked) {
  return asked === undefined || asked === "" ? {} : { numRuns: wholeNumber(asked, "HSAP_TEST_RUNS", "a whole number") };
}

function wholeNumber(text, name, wanted) {
  if (!/^\d+$/.test(text)) throw new Error(`invalid ${name}: ${text} (must be ${wanted})`);
  return Number(text);
}
